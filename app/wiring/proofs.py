"""Wiring of what people do about proofs: breaks, requests for runs and repairs, and who does what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from app.ledger.connections import LedgerConnection, connect
from app.ledger.proof_requests import LedgerProofRequests, over
from app.ledger.reconciliation import LedgerReconciliation
from app.services.proofs.reconciliation import Reconciler
from app.services.proofs.repair import Repair
from app.services.proofs.requested_proofs import RequestedProofs
from app.settings import Settings
from app.wiring.cache import build_cache
from app.wiring.workers import build_reconciler

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.cache.cache import Cache
    from app.services.proofs.breaks import Breaks
    from app.services.proofs.proof_requests import ProofRequests


def build_repair(settings: Settings, reconciler: Reconciler | None = None) -> Repair:
    """Rebuilding the cache from the ledger."""
    reconciler = reconciler or build_reconciler(settings)
    return Repair(reconciler, build_cache(settings), LedgerReconciliation(settings.database_url))


def build_requested_proofs(settings: Settings, reconciler: Reconciler) -> RequestedProofs:
    """What does what people have asked for, in the process that reconciles."""
    opened = partial(connect, settings.database_url, application_name="holdfast requests")
    requests = LedgerProofRequests(over(LedgerConnection(opened, checks_idle=True)))
    return RequestedProofs(requests, reconciler, build_repair(settings, reconciler))


def build_breaks(engine: Engine) -> Breaks:
    """Breaks and who works on them."""
    from app.ledger.breaks import LedgerBreaks
    from app.ledger.users import LedgerUsers
    from app.services.proofs.breaks import Breaks

    return Breaks(LedgerBreaks(engine), LedgerUsers(engine).all)


def build_proof_requests(engine: Engine, cache: Cache, wake: Callable[[], None]) -> ProofRequests:
    """Asking for runs and repairs. The imports are here because the maintenance worker needs none of them."""
    from app.ledger.breaks import LedgerBreaks
    from app.ledger.engine import transactions_of
    from app.ledger.repair_facts import LedgerRepairFacts
    from app.services.proofs.proof_requests import ProofRequests

    ledger = LedgerProofRequests(transactions_of(engine))
    return ProofRequests(ledger, LedgerBreaks(engine), LedgerRepairFacts(engine), cache, wake)
