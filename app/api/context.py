"""The services that the views call, and how a view reaches them."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app

from app.services.accounts import Accounts
from app.services.balances import Balances
from app.services.keys import Gatekeeper
from app.services.payments import Payments
from app.services.ports import HistoryReports
from app.services.readiness import ReadinessProbe

EXTENSION = "holdfast"


@dataclass(slots=True)
class ApiServices:
    """What the API needs; `start` begins to listen for what the books answer."""

    accounts: Accounts
    balances: Balances
    payments: Payments
    history: HistoryReports
    gatekeeper: Gatekeeper
    readiness: ReadinessProbe
    start: Callable[[], None]


def services() -> ApiServices:
    """The services of the application that serves this request."""
    found: ApiServices = current_app.extensions[EXTENSION]
    return found
