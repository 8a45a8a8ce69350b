"""What posts and what proves."""

import random
import time

from app.ledger.chain import ChainBooks
from app.ledger.posting import PostingBooks
from app.ledger.proof import ProofBooks
from app.services.contention import Contention
from app.services.drain import Drain
from app.services.leisure import AT_ONCE, Pace
from app.services.reconcile import Reconciler
from app.services.verify import Verifier
from app.settings import Settings
from app.wiring.cache import build_funds


def build_drain(settings: Settings) -> Drain:
    """A drain with a connection of its own."""
    return Drain(
        build_funds(settings),
        PostingBooks(settings.database_url),
        Contention(time.monotonic, random.random),
        sleep=time.sleep,
        jitter=random.random,
    )


def build_reconciler(settings: Settings, pace: Pace = AT_ONCE) -> Reconciler:
    """The proof that cache and books agree."""
    books = ProofBooks(settings.database_url)
    return Reconciler(build_funds(settings), books, build_verifier(settings, pace), time.monotonic, pace)


def build_verifier(settings: Settings, pace: Pace = AT_ONCE) -> Verifier:
    """The proof that the hash chains hold."""
    return Verifier(ChainBooks(settings.database_url), time.monotonic, pace)
