"""The services that the pages call: those of the API, and those that only people need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING

from flask import current_app

from app.api.context import ApiServices
from app.services.access.sign_in import SignIn
from app.services.posting.activity import Activity
from app.services.proofs.fresh_figures import FreshFigures
from app.services.proofs.trial_balance import TrialBalances

if TYPE_CHECKING:
    from app.domain.proof_history import Standing
    from app.ledger.account_lists import LedgerAccountLists
    from app.ledger.journal_templates import LedgerJournalTemplates
    from app.ledger.monitors import LedgerMonitors
    from app.ledger.payment_search import LedgerPaymentSearch
    from app.ledger.transactions import LedgerTransactions
    from app.ledger.webhooks import LedgerWebhooks
    from app.services.access.organisation import Organisation


@dataclass(slots=True, frozen=True, eq=False)
class PageServices:
    """What the pages need. `api` has what the API serves too, over connections that the pages do not share with it."""

    api: ApiServices
    sign_in: SignIn
    lists: LedgerAccountLists
    trial_balances: TrialBalances
    fresh_figures: FreshFigures
    register: LedgerTransactions
    templates: LedgerJournalTemplates
    journal_chain: int
    """The chain that journals are in."""
    webhooks: LedgerWebhooks
    monitors: LedgerMonitors
    payment_search: LedgerPaymentSearch
    activity: Activity
    standing: Callable[[], Standing]
    """Where the proofs stand now."""
    organisation: Organisation | None
    """The organisation's sign-in, where it is configured."""
    secret: bytes
    """What signs the cookie of forms."""
    public_url: str
    """Where people reach the pages; empty is wherever a request comes to."""

    @property
    def is_https(self) -> bool:
        """Whether people reach the pages over TLS, so that cookies may insist on it."""
        return self.public_url.startswith("https://")

    def now(self) -> datetime:
        """The time in UTC."""
        return self.api.now()

    def entities(self) -> list[str]:
        """The entities that there are, as of a moment ago."""
        return _remembered(self, "entities", int(monotonic() // REMEMBERED_S))

    def currencies(self) -> list[str]:
        """The currencies and assets that accounts are kept in, as of a moment ago."""
        return _remembered(self, "currencies", int(monotonic() // REMEMBERED_S))


REMEMBERED_S = 10
"""How long the choices of filters are remembered: every page shows them, and they hardly ever change."""


@lru_cache(8)
def _remembered(services: PageServices, what: str, _: int) -> list[str]:
    found: list[str] = getattr(services.lists, what)()
    return found


def here() -> PageServices:
    """The services of the application that answers the current request."""
    services: PageServices = current_app.extensions["holdfast"]
    return services


@lru_cache(1_000)
def _places(services: PageServices, currency_code: str) -> int:
    asset = services.api.assets.get(currency_code)
    return 2 if asset is None else asset.minor_units


def decimal_places(currency_code: str) -> int:
    """How many decimals amounts in this currency have; they never change once an account has it."""
    return _places(here(), currency_code)
