"""Wiring of the workers: the drain, the reconciliation, and the verification of the hash chains."""

import random
import time
from collections.abc import Callable

from app.cache.cache import Cache
from app.ledger.hash_chain import LedgerChains
from app.ledger.posting_session import PostingSession
from app.ledger.proof_records import LedgerRunProgress
from app.ledger.reconciliation import LedgerReconciliation
from app.services.posting.contention import Contention
from app.services.posting.drain import BATCH_LIMIT, Drain
from app.services.proofs.chain_verification import AT_ONCE, ChainVerifier, Pace
from app.services.proofs.progress import RunProgress, ToldPace
from app.services.proofs.reconciliation import Reconciler
from app.settings import Settings
from app.wiring.cache import build_cache
from app.wiring.evidence import build_head_signer


def wall_clock_ms() -> int:
    """The time of day in milliseconds since 1970, as the cache stamps its stream ids."""
    return time.time_ns() // 1_000_000


def build_drain(
    settings: Settings,
    *,
    cache: Cache | None = None,
    ledger: PostingSession | None = None,
    batch_limit: int = BATCH_LIMIT,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> Drain:
    """A drain with connections of its own, unless it is given some."""
    return Drain(
        cache or build_cache(settings, "drain"),
        ledger or PostingSession(settings.database_url),
        Contention(monotonic, jitter),
        sleep=sleep,
        jitter=jitter,
        batch_limit=batch_limit,
        now_ms=now_ms,
    )


def build_reconciler(
    settings: Settings, pace: Pace = AT_ONCE, *, monotonic: Callable[[], float] = time.monotonic
) -> Reconciler:
    """The proof that cache and ledger agree."""
    ledger = LedgerReconciliation(settings.database_url)
    progress = RunProgress(LedgerRunProgress(settings.database_url).note, monotonic)
    told = ToldPace(pace, progress)
    verifier = build_verifier(settings, told, monotonic=monotonic)
    return Reconciler(build_cache(settings, "maintain"), ledger, verifier, monotonic, told, progress)


def build_verifier(
    settings: Settings, pace: Pace = AT_ONCE, *, monotonic: Callable[[], float] = time.monotonic
) -> ChainVerifier:
    """The proof that the hash chains hold."""
    return ChainVerifier(LedgerChains(settings.database_url), monotonic, pace, build_head_signer(settings))
