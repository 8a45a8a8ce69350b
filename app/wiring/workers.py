"""What posts and what proves."""

import random
import time

from app.ledger.hash_chain import LedgerChains
from app.ledger.posting_session import PostingSession
from app.ledger.reconciliation import LedgerReconciliation
from app.services.posting.contention import Contention
from app.services.posting.drain import Drain
from app.services.proofs.chain_verification import AT_ONCE, ChainVerifier, Pace
from app.services.proofs.reconciliation import Reconciler
from app.settings import Settings
from app.wiring.cache import build_cache


def build_drain(settings: Settings) -> Drain:
    """A drain with a connection of its own."""
    return Drain(
        build_cache(settings),
        PostingSession(settings.database_url),
        Contention(time.monotonic, random.random),
        sleep=time.sleep,
        jitter=random.random,
    )


def build_reconciler(settings: Settings, pace: Pace = AT_ONCE) -> Reconciler:
    """The proof that cache and books agree."""
    ledger = LedgerReconciliation(settings.database_url)
    return Reconciler(build_cache(settings), ledger, build_verifier(settings, pace), time.monotonic, pace)


def build_verifier(settings: Settings, pace: Pace = AT_ONCE) -> ChainVerifier:
    """The proof that the hash chains hold."""
    return ChainVerifier(LedgerChains(settings.database_url), time.monotonic, pace)
