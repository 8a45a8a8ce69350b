"""The verbs, for the API and for those that do a part of its work: the clock, and the replay of a file."""

import random
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any
from uuid import uuid4

from iso4217 import Currency
from redis.exceptions import RedisError
from rq import Queue, Worker
from sqlalchemy import Engine

from app.cache.cache import Cache
from app.cache.client import blocking_client
from app.domain.errors import CacheUnavailable
from app.domain.money import Asset
from app.ledger.account_changes import LedgerAccountChanges
from app.ledger.accounts import LedgerAccounts
from app.ledger.assets import LedgerAssets
from app.ledger.connections import STATEMENT_TIMEOUT_S
from app.ledger.engine import engine_for
from app.ledger.history import History
from app.ledger.journal_sessions import JournalSessions
from app.ledger.migrate import is_current
from app.ledger.reconciliation import LedgerReconciliation
from app.ledger.transactions import LedgerAuthorizations, LedgerTransactions
from app.services.accounts.accounts import Accounts
from app.services.accounts.assets import Assets
from app.services.accounts.changes import AccountChanges
from app.services.accounts.directory import AccountDirectory
from app.services.accounts.hydration import Balances
from app.services.accounts.recovery import ChangeRecovery, DirectoryPush
from app.services.payments.authorizations import Authorizations
from app.services.payments.durable_wait import DurableWait, WaitingRoom
from app.services.payments.submit import Payments
from app.services.posting.journal_posting import JournalHolds, JournalPoster
from app.services.proofs.readiness import ReadinessProbe
from app.services.proofs.repair import Repair
from app.services.statements.replay import Replay
from app.settings import Settings
from app.wakeup import DRAIN_QUEUE, WakeUps
from app.wiring.cache import build_cache
from app.wiring.workers import build_reconciler


def build_engine(settings: Settings, process: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> Engine:
    """A pool of connections to the books."""
    return engine_for(
        settings.database_url, application_name=f"holdfast {process}", statement_timeout_s=statement_timeout_s
    )


def build_assets(engine: Engine) -> Assets:
    """What accounts may be kept in."""
    return Assets(LedgerAssets(engine), iso_currencies())


def build_changes(engine: Engine, cache: Cache, balances: Balances) -> AccountChanges:
    """The verbs of changing accounts."""
    ledger = LedgerAccountChanges(engine)
    push = DirectoryPush(cache, ledger)
    return AccountChanges(ledger, cache, balances, push, monotonic=time.monotonic, sleep=time.sleep)


def build_payments(
    settings: Settings,
    cache: Cache,
    accounts: LedgerAccounts,
    history: History,
    waiting: WaitingRoom,
    wake: Callable[[], None],
) -> Payments:
    """The verbs of payments."""
    readiness = build_readiness(settings, history.engine, cache, accounts)
    directory = AccountDirectory(accounts, before_use=readiness.require_safe_cache)
    balances = Balances(cache, accounts, directory)
    wait = DurableWait(cache.outbox, waiting)
    authorizations = LedgerAuthorizations(history.engine)
    return Payments(cache, accounts, history, authorizations, directory, balances, wait, wake)


def build_authorizations(engine: Engine, cache: Cache, payments: Payments) -> Authorizations:
    """The verbs of authorizations."""
    return Authorizations(cache, LedgerAuthorizations(engine), payments, wake=payments.wake)


def build_poster(settings: Settings, cache: Cache, register: LedgerTransactions, payments: Payments) -> JournalPoster:
    """The verb behind journals, reversals and refunds; their chain stands behind those of the partitions."""
    return JournalPoster(
        ledger=JournalSessions(settings.database_url, chain=settings.partitions),
        register=register,
        cache=cache,
        holding=JournalHolds(cache, payments.reopen, payments.balances.hydrate),
        directory=payments.directory,
        is_outdated=payments.is_outdated,
        wake=payments.wake,
        sleep=time.sleep,
        jitter=random.random,
        new_attempt_id=lambda: uuid4().hex,
    )


def build_readiness(settings: Settings, engine: Engine, cache: Cache, accounts: LedgerAccounts) -> ReadinessProbe:
    """The look at everything that must be in order."""
    return ReadinessProbe(
        cache,
        accounts.directory_version,
        partial(is_current, engine),
        partial(_drain_workers, blocking_client(settings.queue_url, decode_responses=False)),
        monotonic=time.monotonic,
        allow_unsafe_cache=settings.allow_unsafe_cache,
    )


def _drain_workers(connection: Any) -> int:
    try:
        return len(Worker.all(queue=Queue(DRAIN_QUEUE, connection=connection)))
    except RedisError as error:
        raise CacheUnavailable(f"the server of the queues does not answer: {error}") from error


def build_replay(settings: Settings, currency_code: str) -> Replay:
    """The replay of a file, through a service layer of its own."""
    engine = build_engine(settings, "replay")
    cache = build_cache(settings)
    accounts = LedgerAccounts(engine, settings.partitions)
    history = History(engine)
    return Replay(
        Accounts(accounts, build_assets(engine)),
        build_payments(settings, cache, accounts, history, WaitingRoom(0), WakeUps(settings.queue_url).drain),
        cache,
        history,
        currency_code=currency_code,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )


@cache
def iso_currencies() -> dict[str, Asset | None]:
    """Every code of ISO 4217; None where the standard gives no minor units (metals, testing, units of account)."""
    return {
        one.code: None if one.exponent is None else Asset(one.code, one.exponent, one.currency_name) for one in Currency
    }


def build_expiry(settings: Settings) -> Authorizations:
    """The verbs of authorizations, for the clock."""
    engine = build_engine(settings, "expire")
    cache = build_cache(settings)
    payments = build_payments(
        settings,
        cache,
        LedgerAccounts(engine, settings.partitions),
        History(engine),
        WaitingRoom(0),
        WakeUps(settings.queue_url).drain,
    )
    return build_authorizations(engine, cache, payments)


def build_recovery(settings: Settings) -> ChangeRecovery:
    """The sweep over changes that were broken off."""
    engine = build_engine(settings, "mend")
    cache = build_cache(settings)
    accounts = LedgerAccounts(engine, settings.partitions)
    balances = Balances(cache, accounts, AccountDirectory(accounts))
    return ChangeRecovery(LedgerAccountChanges(engine), build_changes(engine, cache, balances))


def build_push(settings: Settings) -> DirectoryPush:
    """The push of changes that their makers could not push."""
    return DirectoryPush(build_cache(settings), LedgerAccountChanges(build_engine(settings, "schedule")))


def build_repair(settings: Settings) -> Repair:
    """Making the cache anew from the books."""
    return Repair(build_reconciler(settings), build_cache(settings), LedgerReconciliation(settings.database_url))
