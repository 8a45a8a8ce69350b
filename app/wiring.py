"""The composition root: builds the adapters, hands them to the services. Nothing connects before it is used."""

import random
import time
from functools import partial
from typing import Any

from redis.exceptions import RedisError
from rq import Queue, Worker
from sqlalchemy import Engine

from app.api.context import ApiServices
from app.domain.faults import CacheUnavailable
from app.funds.connection import blocking_client, request_client
from app.funds.gateway import Funds
from app.funds.notices import Subscriber
from app.ledger.accounts import AccountBooks
from app.ledger.api_keys import KeyBooks
from app.ledger.database import engine_for
from app.ledger.history import History
from app.ledger.migrate import is_current
from app.ledger.posting import PostingBooks
from app.ledger.proof import ProofBooks
from app.services.accounts import Accounts
from app.services.balances import Balances
from app.services.contention import Contention
from app.services.directory import AccountDirectory
from app.services.drain import Drain
from app.services.keys import Gatekeeper
from app.services.payments import Payments
from app.services.readiness import ReadinessProbe
from app.services.reconcile import Reconciler
from app.services.replay import Replay
from app.services.verify import Verifier
from app.services.waiting import WaitingRoom
from app.settings import Settings
from app.wake import DRAIN_QUEUE, Wakes

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


def build_engine(settings: Settings, process: str) -> Engine:
    """A pool of connections to the books."""
    return engine_for(settings.database_url, application_name=f"holdfast {process}")


def build_api(settings: Settings) -> ApiServices:
    """Everything the API serves."""
    engine = build_engine(settings, "api")
    funds = build_funds(settings)
    accounts = AccountBooks(engine, settings.partitions)
    history = History(engine)
    waiting = WaitingRoom(WAITERS)
    payments = build_payments(settings, funds, accounts, history, waiting)
    subscription = blocking_client(settings.redis_url, decode_responses=True)
    return ApiServices(
        accounts=Accounts(accounts),
        balances=payments.balances,
        payments=payments,
        history=history,
        gatekeeper=Gatekeeper(KeyBooks(engine), time.monotonic),
        readiness=build_readiness(settings, engine, funds, accounts),
        start=Subscriber(subscription, waiting.hear, waiting.wake_all).start,
    )


def build_payments(
    settings: Settings, funds: Funds, accounts: AccountBooks, history: History, waiting: WaitingRoom
) -> Payments:
    """The verbs of payments."""
    directory = AccountDirectory(accounts)
    balances = Balances(funds, accounts, directory)
    return Payments(funds, accounts, history, directory, balances, waiting, wake=Wakes(settings.queue_url).drain)


def build_readiness(settings: Settings, engine: Engine, funds: Funds, accounts: AccountBooks) -> ReadinessProbe:
    """The look at everything that must be in order."""
    return ReadinessProbe(
        funds,
        accounts.directory_version,
        partial(is_current, engine),
        partial(_drain_workers, blocking_client(settings.queue_url, decode_responses=False)),
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
        Accounts(accounts),
        build_payments(settings, funds, accounts, history, WaitingRoom(0)),
        funds,
        history,
        currency_code=currency_code,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )


def build_reconciler(settings: Settings) -> Reconciler:
    """The proof that cache and books agree."""
    return Reconciler(build_funds(settings), ProofBooks(settings.database_url), time.monotonic)


def build_verifier(settings: Settings) -> Verifier:
    """The proof that the hash chains hold."""
    return Verifier(ProofBooks(settings.database_url), time.monotonic)
