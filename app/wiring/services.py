"""Wiring of the services, for the API and for other processes that use some of them: scheduler, replay, repair."""

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache, partial
from uuid import uuid4

from iso4217 import Currency
from sqlalchemy import Engine

from app.cache.cache import Cache
from app.domain.money import Asset
from app.ledger.account_changes import LedgerAccountChanges
from app.ledger.accounts import LedgerAccounts
from app.ledger.assets import LedgerAssets
from app.ledger.audit_records import AuditMonths
from app.ledger.connections import STATEMENT_TIMEOUT_S
from app.ledger.engine import engine_for, look_at_server
from app.ledger.history import History
from app.ledger.journal_sessions import JournalSessions
from app.ledger.migrate import is_current
from app.ledger.transactions import LedgerAuthorizations, LedgerTransactions
from app.ledger.webhooks import LedgerWebhooks
from app.services.accounts.accounts import Accounts
from app.services.accounts.assets import Assets
from app.services.accounts.changes import AccountChanges
from app.services.accounts.directory import AccountDirectory, DirectoryPush
from app.services.accounts.hydration import Balances
from app.services.accounts.recovery import ChangeRecovery
from app.services.payments.atomic_batches import AtomicBatches
from app.services.payments.authorizations import Authorizations
from app.services.payments.decide import Decider
from app.services.payments.durable_wait import DurableWait, WaitingRoom
from app.services.payments.held_back import HeldBack
from app.services.payments.outcomes import Outcomes, PaymentFinder
from app.services.payments.submit import Payments
from app.services.posting.journal_holds import JournalHolds
from app.services.posting.journal_posting import JournalPoster
from app.services.proofs.cache_identity import CacheIdentity
from app.services.proofs.readiness import ReadinessProbe
from app.services.statements.replay import Replay
from app.settings import Settings
from app.wakeup import WakeUps
from app.wiring.cache import build_cache, build_identity

REPORT_S = 60.0
"""The longest time for a query of a report: one as of an instant adds up all entries, a million in a second."""


def build_engine(settings: Settings, process: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> Engine:
    """A pool of connections to the ledger."""
    return engine_for(
        settings.database_url, application_name=f"holdfast {process}", statement_timeout_s=statement_timeout_s
    )


def build_assets(engine: Engine) -> Assets:
    """What accounts may be kept in."""
    return Assets(LedgerAssets(engine), iso_currencies())


def build_balances(cache: Cache, accounts: LedgerAccounts) -> Balances:
    """Balances as the cache has them, for a process that decides no payments."""
    return Balances(cache, accounts, AccountDirectory(accounts))


def build_changes(
    ledger: LedgerAccountChanges,
    cache: Cache,
    balances: Balances,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    release_due: Callable[[Collection[str]], int] = lambda _: 0,
) -> AccountChanges:
    """The service that changes accounts. Without `release_due` the sweep alone releases what is held past its time."""
    push = DirectoryPush(cache, ledger)
    return AccountChanges(ledger, cache, balances, push, monotonic=monotonic, sleep=sleep, release_due=release_due)


@dataclass(slots=True)
class PaymentServices:
    """Payments and the services around them, which share one directory, one decider and one wait for the ledger."""

    identity: CacheIdentity
    directory: AccountDirectory
    balances: Balances
    decider: Decider
    finder: PaymentFinder
    durable_wait: DurableWait
    payments: Payments
    atomic_batches: AtomicBatches
    authorizations: Authorizations
    held_back: HeldBack
    wake: Callable[[], None]


def compose_payments(
    cache: Cache,
    identity: CacheIdentity,
    accounts: LedgerAccounts,
    history: History,
    ledger_authorizations: LedgerAuthorizations,
    directory: AccountDirectory,
    room: WaitingRoom,
    wake: Callable[[], None],
) -> PaymentServices:
    """Payments and the services around them, over these adapters."""
    balances = Balances(cache, accounts, directory)
    decider = Decider(cache, identity, directory, balances)
    outcomes = Outcomes(cache, history, ledger_authorizations, identity.acknowledged)
    finder = PaymentFinder(cache, history, ledger_authorizations)
    durable_wait = DurableWait(cache.outbox, room)
    authorizations = Authorizations(cache, ledger_authorizations, decider, outcomes, durable_wait, wake)
    held_back = HeldBack(cache, ledger_authorizations, outcomes, authorizations.release_due)
    return PaymentServices(
        identity=identity,
        directory=directory,
        balances=balances,
        decider=decider,
        finder=finder,
        durable_wait=durable_wait,
        payments=Payments(cache, decider, outcomes, finder, durable_wait, wake, held_back),
        atomic_batches=AtomicBatches(cache, decider, outcomes, wake, held_back, new_group_id=lambda: uuid4().hex),
        authorizations=authorizations,
        held_back=held_back,
        wake=wake,
    )


def build_payments(
    settings: Settings,
    cache: Cache,
    accounts: LedgerAccounts,
    history: History,
    room: WaitingRoom,
    wake: Callable[[], None],
) -> PaymentServices:
    """Payments and the services around them, for a process that refuses to work on a cache that is unsafe for money."""
    identity = build_identity(settings, cache)
    readiness = build_readiness(settings, history.engine, cache, identity, accounts)
    directory = AccountDirectory(accounts, before_use=readiness.require_safe_cache)
    authorizations = LedgerAuthorizations(history.engine)
    return compose_payments(cache, identity, accounts, history, authorizations, directory, room, wake)


def build_poster(
    settings: Settings,
    cache: Cache,
    register: LedgerTransactions,
    paying: PaymentServices,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> JournalPoster:
    """What posts journals, reversals and refunds. Their hash chain has the number after the last partition's."""
    return JournalPoster(
        ledger=JournalSessions(settings.database_url, chain=settings.partitions),
        register=register,
        cache=cache,
        holds=JournalHolds(cache, paying.held_back),
        decider=paying.decider,
        wake=paying.wake,
        sleep=sleep,
        jitter=random.random,
        new_attempt_id=lambda: uuid4().hex,
    )


def build_readiness(
    settings: Settings, engine: Engine, cache: Cache, identity: CacheIdentity, accounts: LedgerAccounts
) -> ReadinessProbe:
    """The probe that looks at everything that payments need."""
    return ReadinessProbe(
        cache,
        identity.check,
        accounts.directory_version,
        partial(is_current, engine),
        partial(look_at_server, engine),
        WakeUps(settings.queue_url).ping,
        LedgerWebhooks(engine).lags,
        monotonic=time.monotonic,
        allow_unsafe_cache=settings.allow_unsafe_cache,
    )


def build_replay(settings: Settings, currency_code: str) -> Replay:
    """The replay of a bank file, with services of its own."""
    engine = build_engine(settings, "replay")
    cache = build_cache(settings)
    accounts = LedgerAccounts(engine, settings.partitions)
    history = History(engine)
    paying = build_payments(settings, cache, accounts, history, WaitingRoom(0), WakeUps(settings.queue_url).drain)
    return Replay(
        Accounts(accounts, build_assets(engine)),
        paying.payments,
        cache,
        history,
        currency_code=currency_code,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )


@cache
def iso_currencies() -> dict[str, Asset | None]:
    """Every code of ISO 4217; None if the standard gives it no minor units (metals, testing, units of account)."""
    return {
        one.code: None if one.exponent is None else Asset(one.code, one.exponent, one.currency_name) for one in Currency
    }


def build_expiry(settings: Settings) -> Authorizations:
    """The service of authorizations, for the scheduler, which expires them."""
    engine = build_engine(settings, "expire")
    cache = build_cache(settings)
    accounts = LedgerAccounts(engine, settings.partitions)
    wake = WakeUps(settings.queue_url).drain
    return build_payments(settings, cache, accounts, History(engine), WaitingRoom(0), wake).authorizations


def build_recovery(settings: Settings) -> ChangeRecovery:
    """The sweep over account changes that broke off."""
    engine = build_engine(settings, "recovery")
    cache = build_cache(settings)
    ledger = LedgerAccountChanges(engine)
    balances = build_balances(cache, LedgerAccounts(engine, settings.partitions))
    return ChangeRecovery(ledger, build_changes(ledger, cache, balances))


def build_audit_keeper(settings: Settings) -> AuditMonths:
    """What makes the audit's months ahead, and drops the oldest."""
    return AuditMonths(settings.database_url)


def build_push(settings: Settings) -> DirectoryPush:
    """The push of account changes that the process that made them could not push."""
    return DirectoryPush(build_cache(settings), LedgerAccountChanges(build_engine(settings, "schedule")))
