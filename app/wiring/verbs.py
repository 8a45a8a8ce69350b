"""The verbs, for the API and for those that do a part of its work: the clock, and the replay of a file."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from redis.exceptions import RedisError
from rq import Queue, Worker
from sqlalchemy import Engine

from app.domain.faults import CacheUnavailable
from app.funds.connection import blocking_client
from app.funds.gateway import Funds
from app.iso4217 import iso_currencies
from app.ledger.accounts import AccountBooks
from app.ledger.assets import AssetBooks
from app.ledger.changes import ChangeBooks
from app.ledger.connecting import STATEMENT_TIMEOUT_S
from app.ledger.database import engine_for
from app.ledger.history import History
from app.ledger.holds import HoldBooks
from app.ledger.journals import JournalBooks
from app.ledger.migrate import is_current
from app.ledger.synchronous import SynchronousBooks
from app.services.accounts import Accounts
from app.services.assets import Assets
from app.services.balances import Balances
from app.services.changes import AccountChanges
from app.services.directory import AccountDirectory
from app.services.holding import Holding
from app.services.holds import Holds
from app.services.payments import Payments
from app.services.pushing import DirectoryPush
from app.services.readiness import ReadinessProbe
from app.services.replay import Replay
from app.services.synchronous import Poster
from app.services.waiting import BooksWait, WaitingRoom
from app.settings import Settings
from app.wake import DRAIN_QUEUE, Wakes
from app.wiring.cache import build_funds


def build_engine(settings: Settings, process: str, statement_timeout_s: float = STATEMENT_TIMEOUT_S) -> Engine:
    """A pool of connections to the books."""
    return engine_for(
        settings.database_url, application_name=f"holdfast {process}", statement_timeout_s=statement_timeout_s
    )


def build_assets(engine: Engine) -> Assets:
    """What accounts may be kept in."""
    return Assets(AssetBooks(engine), iso_currencies())


def build_changes(engine: Engine, funds: Funds, balances: Balances) -> AccountChanges:
    """The verbs of changing accounts."""
    books = ChangeBooks(engine)
    push = DirectoryPush(funds, books)
    return AccountChanges(books, funds, balances, push, monotonic=time.monotonic, sleep=time.sleep)


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
