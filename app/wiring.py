"""The composition root: builds the adapters, hands them to the services. Nothing connects before it is used."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from redis.exceptions import RedisError
from rq import Queue, Worker
from sqlalchemy import Engine

from app.api.context import ApiServices
from app.domain.faults import CacheUnavailable
from app.funds.connection import blocking_client, request_client
from app.funds.gateway import Funds
from app.funds.notices import Subscriber
from app.iso4217 import iso_currencies
from app.ledger.accounts import AccountBooks
from app.ledger.api_keys import KeyBooks
from app.ledger.assets import AssetBooks
from app.ledger.chain import ChainBooks
from app.ledger.changes import ChangeBooks
from app.ledger.database import STATEMENT_TIMEOUT_S, engine_for
from app.ledger.history import History
from app.ledger.holds import HoldBooks
from app.ledger.journals import JournalBooks
from app.ledger.migrate import is_current
from app.ledger.posting import PostingBooks
from app.ledger.proof import ProofBooks
from app.ledger.synchronous import SynchronousBooks
from app.services.accounts import Accounts
from app.services.assets import Assets
from app.services.balances import Balances
from app.services.batches import Batches
from app.services.changes import AccountChanges
from app.services.contention import Contention
from app.services.directory import AccountDirectory
from app.services.drain import Drain
from app.services.figures import FigureReader
from app.services.holding import Holding
from app.services.holds import Holds
from app.services.journals import Journals
from app.services.keys import Gatekeeper
from app.services.mending import Mending
from app.services.pacing import Pacing
from app.services.payments import Payments
from app.services.pushing import DirectoryPush
from app.services.readiness import ReadinessProbe
from app.services.reconcile import Reconciler
from app.services.refunds import Refunds
from app.services.replay import Replay
from app.services.synchronous import Poster
from app.services.verify import Verifier
from app.services.waiting import BooksWait, WaitingRoom
from app.settings import Settings
from app.wake import DRAIN_QUEUE, Bell, Wakes

LOOK_UP_S = 3.0
"""The longest look-up for a request: it takes milliseconds, and who asks for money does not wait long."""

WAITERS = 48
"""Requests of one process that may wait for the books at once; the other threads stay free for those who do not."""


def build_funds(settings: Settings) -> Funds:
    """The cache."""
    return Funds(
        request_client(settings.redis_url),
        partitions=settings.partitions,
        window_ms=settings.idempotency_window_s * 1000,
        backlog_limit=settings.backlog_limit,
    )


def build_engine(settings: Settings, process: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> Engine:
    """A pool of connections to the books."""
    return engine_for(
        settings.database_url, application_name=f"holdfast {process}", statement_timeout_s=statement_timeout_s
    )


def build_api(settings: Settings) -> ApiServices:
    """Everything the API serves."""
    engine = build_engine(settings, "api", LOOK_UP_S)
    funds = build_funds(settings)
    accounts = AccountBooks(engine, settings.partitions)
    history = History(engine)
    waiting = WaitingRoom(WAITERS)
    wake = Bell(Wakes(settings.queue_url).drain).ring
    payments = build_payments(settings, funds, accounts, history, waiting, wake)
    register = JournalBooks(engine)
    poster = build_poster(settings, funds, register, payments)
    subscription = blocking_client(settings.redis_url, decode_responses=True)
    return ApiServices(
        accounts=Accounts(accounts, build_assets(engine)),
        changes=build_changes(engine, funds, payments.balances),
        assets=build_assets(engine),
        balances=payments.balances,
        payments=payments,
        holds=build_holds(engine, funds, payments),
        batches=Batches(
            payments, funds, Pacing(funds.backlog, time.sleep), sleep=time.sleep, new_group_id=lambda: uuid4().hex
        ),
        journals=Journals(register, poster),
        refunds=Refunds(funds, register, payments, poster),
        history=History(build_engine(settings, "reports")),
        gatekeeper=Gatekeeper(KeyBooks(engine), time.monotonic),
        readiness=build_readiness(settings, engine, funds, accounts),
        figures=FigureReader(funds, history),
        now=partial(datetime.now, UTC),
        start=Subscriber(subscription, waiting.hear, waiting.begin).start,
    )


def build_assets(engine: Engine) -> Assets:
    """What accounts may be kept in."""
    return Assets(AssetBooks(engine), iso_currencies())


def build_changes(engine: Engine, funds: Funds, balances: Balances) -> AccountChanges:
    """The verbs of changing accounts."""
    books = ChangeBooks(engine)
    push = DirectoryPush(funds, books)
    return AccountChanges(books, funds, balances, push, monotonic=time.monotonic, sleep=time.sleep)


def build_mending(settings: Settings) -> Mending:
    """The sweep over changes that were broken off."""
    engine = build_engine(settings, "mend")
    funds = build_funds(settings)
    accounts = AccountBooks(engine, settings.partitions)
    balances = Balances(funds, accounts, AccountDirectory(accounts))
    return Mending(ChangeBooks(engine), build_changes(engine, funds, balances))


def build_push(settings: Settings) -> DirectoryPush:
    """The push of changes that their makers could not push."""
    return DirectoryPush(build_funds(settings), ChangeBooks(build_engine(settings, "schedule")))


def build_payments(
    settings: Settings,
    funds: Funds,
    accounts: AccountBooks,
    history: History,
    waiting: WaitingRoom,
    wake: Callable[[], None],
) -> Payments:
    """The verbs of payments."""
    readiness = build_readiness(settings, history.engine, funds, accounts)
    directory = AccountDirectory(accounts, before_use=readiness.require_safe_cache)
    balances = Balances(funds, accounts, directory)
    wait = BooksWait(funds, waiting)
    holds = HoldBooks(history.engine)
    return Payments(funds, accounts, history, holds, directory, balances, wait, wake)


def build_holds(engine: Engine, funds: Funds, payments: Payments) -> Holds:
    """The verbs of authorizations."""
    return Holds(funds, HoldBooks(engine), payments, wake=payments.wake)


def build_poster(settings: Settings, funds: Funds, register: JournalBooks, payments: Payments) -> Poster:
    """The verb behind journals, reversals and refunds; their chain stands behind those of the partitions."""
    return Poster(
        books=SynchronousBooks(settings.database_url, chain=settings.partitions),
        register=register,
        funds=funds,
        holding=Holding(funds, payments.reopen, payments.balances.hydrate),
        directory=payments.directory,
        is_outdated=payments.is_outdated,
        wake=payments.wake,
        sleep=time.sleep,
        jitter=random.random,
        new_attempt_id=lambda: uuid4().hex,
    )


def build_expiry(settings: Settings) -> Holds:
    """The verbs of authorizations, for the clock."""
    engine = build_engine(settings, "expire")
    funds = build_funds(settings)
    payments = build_payments(
        settings,
        funds,
        AccountBooks(engine, settings.partitions),
        History(engine),
        WaitingRoom(0),
        Wakes(settings.queue_url).drain,
    )
    return build_holds(engine, funds, payments)


def build_readiness(settings: Settings, engine: Engine, funds: Funds, accounts: AccountBooks) -> ReadinessProbe:
    """The look at everything that must be in order."""
    return ReadinessProbe(
        funds,
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


def build_drain(settings: Settings) -> Drain:
    """A drain with a connection of its own."""
    return Drain(
        build_funds(settings),
        PostingBooks(settings.database_url),
        Contention(time.monotonic, random.random),
        sleep=time.sleep,
        jitter=random.random,
    )


def build_replay(settings: Settings, currency_code: str) -> Replay:
    """The replay of a file, through a service layer of its own."""
    engine = build_engine(settings, "replay")
    funds = build_funds(settings)
    accounts = AccountBooks(engine, settings.partitions)
    history = History(engine)
    return Replay(
        Accounts(accounts, build_assets(engine)),
        build_payments(settings, funds, accounts, history, WaitingRoom(0), Wakes(settings.queue_url).drain),
        funds,
        history,
        currency_code=currency_code,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )


def build_reconciler(settings: Settings) -> Reconciler:
    """The proof that cache and books agree."""
    books = ProofBooks(settings.database_url)
    return Reconciler(build_funds(settings), books, build_verifier(settings), time.monotonic)


def build_verifier(settings: Settings) -> Verifier:
    """The proof that the hash chains hold."""
    return Verifier(ChainBooks(settings.database_url), time.monotonic)
