"""Builders: values with defaults, of which a test names only what it is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from app.domain.accounts import AccountFacts, AccountStatus, AccountType, default_overdraft_limit
from app.domain.hash_chain import GENESIS_HASH
from app.domain.ledger_rows import ChainHead, LedgerBalance, QueuedIntent
from app.domain.payment import Intent, Leg, OutboxPosition, PaymentRequest, partition_of
from app.domain.payment_checks import fingerprint

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOON_MS = 1_769_860_800_000
WINDOW_MS = 60_000
PARTITIONS = 4
"""Few, so that accounts meet in one partition and payments still cross from one to another."""


def facts(
    account_id: str,
    type: AccountType = AccountType.LIABILITY,
    *,
    has_floor: bool | None = None,
    status: AccountStatus = AccountStatus.OPEN,
    currency_code: str = "EUR",
    entity_id: str = "default",
) -> AccountFacts:
    """An account's facts; by default an open wallet in euros, with a floor as its type has one by default."""
    floor = default_overdraft_limit(type) is not None if has_floor is None else has_floor
    return AccountFacts(account_id, entity_id, type, currency_code, status, floor)


def payment(
    source: str = "alice",
    destination: str = "bob",
    amount_minor: int = 100,
    *,
    external_id: str = "order-1",
    currency_code: str = "EUR",
    **more: Any,
) -> PaymentRequest:
    """A payment request."""
    return PaymentRequest(external_id, source, destination, amount_minor, currency_code, **more)


def intent(
    source: str = "alice",
    destination: str = "bob",
    amount_minor: int = 100,
    *,
    external_id: str = "order-1",
    hold_minor: int | None = None,
    guarded: str | None = None,
    entity_id: str = "default",
    currency_code: str = "EUR",
    **more: Any,
) -> Intent:
    """A decided movement out of a wallet, which is the guarded account."""
    content = {name: value for name, value in more.items() if name in ("description", "metadata", "effective_at")}
    request = payment(
        source, destination, amount_minor, external_id=external_id, currency_code=currency_code, **content
    )
    return Intent(
        entity_id=entity_id,
        external_id=external_id,
        fingerprint=fingerprint(request),
        guarded_account_id=guarded or source,
        hold_minor=amount_minor if hold_minor is None else hold_minor,
        currency_code=currency_code,
        legs=[Leg(source, amount_minor), Leg(destination, -amount_minor)],
        actor="key:test",
        **more,
    )


def queued(sequence: int, what: Intent | None = None, *, partition: int = 0, at_ms: int = NOON_MS) -> QueuedIntent:
    """An intent in the outbox, in the order of `sequence`."""
    return QueuedIntent(OutboxPosition(partition, f"{at_ms}-{sequence}"), what or intent(external_id=f"e{sequence}"))


def wallet(account_id: str, balance_minor: int = 0, **more: Any) -> LedgerBalance:
    """A wallet's row in the ledger: credit-normal, floor 0."""
    return ledger_row(account_id, balance_minor, **({"floor_minor": 0} | more))


def ledger_row(
    account_id: str,
    balance_minor: int = 0,
    *,
    normal_sign: int = -1,
    floor_minor: int | None = None,
    entry_count: int = 0,
    version: int | None = None,
    entity_id: str = "default",
    currency_code: str = "EUR",
    updated_at: datetime = NOON,
) -> LedgerBalance:
    """Any account's row in the ledger."""
    return LedgerBalance(
        account_id,
        entity_id,
        currency_code,
        normal_sign,
        balance_minor,
        floor_minor,
        entry_count if version is None else version,
        entry_count,
        updated_at,
    )


def rows(*balances: LedgerBalance) -> dict[str, LedgerBalance]:
    """Rows by account id."""
    return {row.account_id: row for row in balances}


def heads(*partitions: int) -> dict[int, ChainHead]:
    """The heads of chains that have not begun."""
    return {p: ChainHead(p, 0, GENESIS_HASH, "", NOON) for p in partitions or (0,)}


def account_in(partition: int, name: str, partitions: int = PARTITIONS) -> str:
    """An account id that starts with `name` and lies in `partition`."""
    return next(candidate for n in range(10_000) if partition_of(candidate := f"{name}-{n}", partitions) == partition)


@contextmanager
def ledger_set_to(owner: psycopg.Connection[Any], setting: str) -> Iterator[None]:
    """A setting of the database for all sessions that begin meanwhile; those of the app end before and after."""
    database = sql.Identifier(owner.info.dbname)
    owner.execute(sql.SQL("ALTER DATABASE {} SET {}").format(database, sql.SQL(setting)))  # type: ignore[arg-type]
    end_sessions(owner)
    try:
        yield
    finally:
        owner.execute("SET default_transaction_read_only = off")
        owner.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(database))
        end_sessions(owner)


def end_sessions(owner: psycopg.Connection[Any]) -> None:
    """End all other sessions that name themselves after this project, as a restart of the server does."""
    owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND application_name LIKE 'holdfast%'"
    )
