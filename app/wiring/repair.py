"""What makes the cache anew: apart, because nothing that runs all the time needs both proving and SQLAlchemy."""

from app.ledger.accounts import AccountBooks
from app.ledger.proof import ProofBooks
from app.services.repair import Repair
from app.settings import Settings
from app.wiring.cache import build_funds
from app.wiring.verbs import build_engine
from app.wiring.workers import build_reconciler


def build_repair(settings: Settings) -> Repair:
    """Making the cache anew from the books."""
    accounts = AccountBooks(build_engine(settings, "repair"), settings.partitions)
    return Repair(build_reconciler(settings), build_funds(settings), accounts, ProofBooks(settings.database_url))
