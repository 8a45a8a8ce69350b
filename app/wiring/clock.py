"""What is due at its time."""

from app.ledger.accounts import AccountBooks
from app.ledger.changes import ChangeBooks
from app.ledger.history import History
from app.services.balances import Balances
from app.services.directory import AccountDirectory
from app.services.holds import Holds
from app.services.mending import Mending
from app.services.pushing import DirectoryPush
from app.services.waiting import WaitingRoom
from app.settings import Settings
from app.wake import Wakes
from app.wiring.cache import build_funds
from app.wiring.verbs import build_changes, build_engine, build_holds, build_payments


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
