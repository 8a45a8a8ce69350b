"""Everything the API serves."""

import time
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from app.api.context import ApiServices
from app.funds.connection import blocking_client
from app.funds.notices import Subscriber
from app.ledger.accounts import AccountBooks
from app.ledger.api_keys import KeyBooks
from app.ledger.history import History
from app.ledger.journals import JournalBooks
from app.services.accounts import Accounts
from app.services.batches import Batches
from app.services.figures import FigureReader
from app.services.journals import Journals
from app.services.keys import Gatekeeper
from app.services.pacing import Pacing
from app.services.refunds import Refunds
from app.services.waiting import WaitingRoom
from app.settings import Settings
from app.wake import Bell, Wakes
from app.wiring.cache import build_funds
from app.wiring.verbs import (
    build_assets,
    build_changes,
    build_engine,
    build_holds,
    build_payments,
    build_poster,
    build_readiness,
)

LOOK_UP_S = 3.0
"""The longest look-up for a request: it takes milliseconds, and who asks for money does not wait long."""

WAITERS = 48
"""Requests of one process that may wait for the books at once; the other threads stay free for those who do not."""


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
