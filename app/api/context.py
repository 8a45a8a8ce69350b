"""The services that the views call, and how a view reaches them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flask import current_app

from app.services.accounts import Accounts
from app.services.assets import Assets
from app.services.balances import Balances
from app.services.batches import Batches
from app.services.changes import AccountChanges
from app.services.figures import FigureReader
from app.services.holds import Holds
from app.services.journals import Journals
from app.services.keys import Gatekeeper
from app.services.payments import Payments
from app.services.ports.books import HistoryReports
from app.services.readiness import ReadinessProbe
from app.services.refunds import Refunds

EXTENSION = "holdfast"


@dataclass(slots=True)
class ApiServices:
    """What the API needs; `now` tells the time in UTC, `start` begins to listen for what the books answer."""

    accounts: Accounts
    changes: AccountChanges
    assets: Assets
    balances: Balances
    payments: Payments
    holds: Holds
    batches: Batches
    journals: Journals
    refunds: Refunds
    history: HistoryReports
    gatekeeper: Gatekeeper
    readiness: ReadinessProbe
    figures: FigureReader
    now: Callable[[], datetime]
    start: Callable[[], None]


def services() -> ApiServices:
    """The services of the application that serves this request."""
    found: ApiServices = current_app.extensions[EXTENSION]
    return found
