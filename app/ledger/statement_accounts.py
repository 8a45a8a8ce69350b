"""Which account of the ledger a bank's or processor's account is, and by which rules they are matched."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine

from app.domain.account_refusals import account_not_found
from app.domain.audit import Action
from app.domain.match_records import NewSetup, StatementAccount
from app.domain.match_refusals import nothing_stated, other_currency, setup_in_use
from app.domain.origin import note_recorded
from app.domain.refusals import Refusal
from app.ledger.audit_records import record_change
from app.ledger.connections import translated

_SELECT = """
    SELECT a.statement_account_id, a.source_name, a.account_ref, a.currency_code, s.version, s.account_id, s.starts_on,
        s.rules, s.created_by, s.created_at,
        (SELECT o.signed_through FROM sign_off o WHERE o.statement_account_id = a.statement_account_id
            ORDER BY o.number DESC LIMIT 1)
    FROM statement_account a
    CROSS JOIN LATERAL (SELECT * FROM matching_setup s WHERE s.statement_account_id = a.statement_account_id
        ORDER BY s.version DESC LIMIT 1) s
"""
_IN_USE = """
    SELECT EXISTS (SELECT FROM statement_match WHERE statement_account_id = %(id)s)
        OR EXISTS (SELECT FROM sign_off WHERE statement_account_id = %(id)s)
"""
_FIRST_DAY = """
    SELECT min(least(first_on, opening_on)) FROM statement
    WHERE (source_name, account_ref, currency_code) = (%(source_name)s, %(account_ref)s, %(currency_code)s)
"""
_UNLINKED = """
    SELECT DISTINCT s.source_name, s.account_ref, s.currency_code FROM statement s
    WHERE NOT EXISTS (SELECT FROM statement_account a
        WHERE (a.source_name, a.account_ref, a.currency_code) = (s.source_name, s.account_ref, s.currency_code))
    ORDER BY 1, 2, 3
"""


def statement_account_in(connection: Connection, statement_account_id: int) -> StatementAccount | None:
    """A statement's account with its newest setup; None if there is none."""
    row = connection.exec_driver_sql(
        f"{_SELECT} WHERE a.statement_account_id = %(id)s", {"id": statement_account_id}
    ).first()
    return None if row is None else StatementAccount(*row)


def minor_units_of(connection: Connection, account: StatementAccount) -> int:
    """The decimals of the currency, as its statements have them."""
    query = "SELECT coalesce(max(minor_units), 0) FROM statement WHERE currency_code = %(currency_code)s"
    return int(connection.exec_driver_sql(query, {"currency_code": account.currency_code}).scalar_one())


def lock_of(statement_account_id: int) -> str:
    """What runs and decisions on one account wait for."""
    return f"statement account {statement_account_id}"


def locked_statement_account(connection: Connection, statement_account_id: int) -> StatementAccount | None:
    """The same, as it stands once no run and no other decision is at work on it; until the transaction ends."""
    lock = {"lock": lock_of(statement_account_id)}
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended(%(lock)s, 0))", lock)
    return statement_account_in(connection, statement_account_id)


class LedgerStatementAccounts:
    """Saves and reads the setups."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[StatementAccount]:
        """Every account that is matched, by source, reference and currency."""
        order = "ORDER BY a.source_name, a.account_ref, a.currency_code"
        with translated(), self._engine.connect() as connection:
            return [StatementAccount(*row) for row in connection.exec_driver_sql(f"{_SELECT} {order}")]

    def unlinked(self) -> list[tuple[str, str, str]]:
        """Source, account and currency of statements that are matched with no account of the ledger."""
        with translated(), self._engine.connect() as connection:
            return [(row[0], row[1], row[2]) for row in connection.exec_driver_sql(_UNLINKED)]

    def get(self, statement_account_id: int) -> StatementAccount | None:
        """One of them; None if there is none."""
        with translated(), self._engine.connect() as connection:
            return statement_account_in(connection, statement_account_id)

    def first_day(self, source_name: str, account_ref: str, currency_code: str) -> date | None:
        """The first day that statements of an account tell of."""
        named = {"source_name": source_name, "account_ref": account_ref, "currency_code": currency_code}
        with translated(), self._engine.connect() as connection:
            found: date | None = connection.exec_driver_sql(_FIRST_DAY, named).scalar()
        return found

    def save(self, wanted: NewSetup, actor: str) -> tuple[StatementAccount, bool] | Refusal:
        """Save a setup, as a new version if it differs; returns it, and whether anything is new."""
        named = {
            "source_name": wanted.source_name,
            "account_ref": wanted.account_ref,
            "currency_code": wanted.currency_code,
        }
        with translated(), self._engine.begin() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('matching setup', 0))")
            if (refusal := _refuse(connection, wanted, named)) is not None:
                return refusal
            account_id = _id_of(connection, named)
            known = statement_account_in(connection, account_id)
            if known is not None:
                if _same(known, wanted):
                    return known, False
                if (refusal := _refuse_change(connection, known, wanted)) is not None:
                    return refusal
            values = {
                "statement_account_id": account_id,
                "version": 1 if known is None else known.version + 1,
                "account_id": wanted.account_id,
                "starts_on": wanted.starts_on,
                "rules": Jsonb(list(wanted.rules)),
                "created_by": actor,
            }
            connection.exec_driver_sql(
                "INSERT INTO matching_setup (statement_account_id, version, account_id, starts_on, rules, created_by)"
                " VALUES (%(statement_account_id)s, %(version)s, %(account_id)s, %(starts_on)s, %(rules)s,"
                " %(created_by)s)",
                values,
            )
            told = {**named, **values, "rules": list(wanted.rules)}
            execute = connection.exec_driver_sql
            record_change(execute, Action.MATCHING_SETUP, actor, account_id=wanted.account_id, result=told)
            saved = statement_account_in(connection, account_id)
        note_recorded()
        assert saved is not None
        return saved, True


def _refuse(connection: Connection, wanted: NewSetup, named: Mapping[str, Any]) -> Refusal | None:
    query = "SELECT currency_code FROM account WHERE account_id = %(account_id)s"
    currency = connection.exec_driver_sql(query, {"account_id": wanted.account_id}).scalar()
    if currency is None:
        return account_not_found(wanted.account_id)
    if currency != wanted.currency_code:
        return other_currency(wanted.account_id, currency, wanted.currency_code)
    if connection.exec_driver_sql(_FIRST_DAY, named).scalar() is None:
        return nothing_stated(wanted.source_name, wanted.account_ref, wanted.currency_code)
    return None


def _refuse_change(connection: Connection, known: StatementAccount, wanted: NewSetup) -> Refusal | None:
    """What matches rest on stays."""
    moved = [
        name
        for name, before, after in (
            ("account_id", known.account_id, wanted.account_id),
            ("starts_on", known.starts_on, wanted.starts_on),
        )
        if before != after
    ]
    if moved and connection.exec_driver_sql(_IN_USE, {"id": known.statement_account_id}).scalar_one():
        return setup_in_use(moved[0])
    return None


def _same(known: StatementAccount, wanted: NewSetup) -> bool:
    before = (known.account_id, known.starts_on, list(known.raw_rules))
    return before == (wanted.account_id, wanted.starts_on, list(wanted.rules))


def _id_of(connection: Connection, named: Mapping[str, Any]) -> int:
    query = (
        "SELECT statement_account_id FROM statement_account WHERE (source_name, account_ref, currency_code)"
        " = (%(source_name)s, %(account_ref)s, %(currency_code)s)"
    )
    found = connection.exec_driver_sql(query, dict(named)).scalar()
    if found is None:
        insert = (
            "INSERT INTO statement_account (source_name, account_ref, currency_code)"
            " VALUES (%(source_name)s, %(account_ref)s, %(currency_code)s) RETURNING statement_account_id"
        )
        found = connection.exec_driver_sql(insert, dict(named)).scalar_one()
    return int(found)
