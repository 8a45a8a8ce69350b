"""Doing what people have asked of the reconciliation, one request after the other, and saying what has come of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from app.domain.breaks import OF_THE_CACHE
from app.domain.errors import Fault
from app.domain.proof_requests import ProofRequest, RequestMode, RequestOutcome

if TYPE_CHECKING:
    from app.ledger.proof_requests import LedgerProofRequests
    from app.services.proofs.reconciliation import Reconciler
    from app.services.proofs.repair import Repair

log = logging.getLogger(__name__)

Result = tuple[RequestOutcome, str, int | None]
"""What has come of a request, in a sentence, and the run that shows it."""


class RequestedProofs:
    """Does what was asked for. One process at a time; a request that broke off is begun again."""

    def __init__(self, requests: LedgerProofRequests, reconciler: Reconciler, repair: Repair) -> None:
        self._requests = requests
        self._reconciler = reconciler
        self._repair = repair

    def run_once(self) -> int:
        """Do everything that waits; returns how many requests there were."""
        waiting = self._requests.unfinished()
        for request in waiting:
            self._requests.start(request.request_id)
            outcome, detail, run_id = self._tried(request)
            self._requests.finish(request.request_id, outcome, detail, run_id)
        return len(waiting)

    def is_full_due(self, every_hours: int) -> bool:
        """Whether it is time for a full run; with 0 hours it never is."""
        return every_hours > 0 and self._requests.is_full_due(every_hours)

    def _tried(self, request: ProofRequest) -> Result:
        try:
            return self._repaired(request) if request.mode is RequestMode.REPAIR else self._run(request)
        except Fault as fault:
            log.error("request %d failed: %s: %s", request.request_id, type(fault).__name__, fault)
            return RequestOutcome.FAILED, f"A server did not answer: {fault}. Ask again.", None
        except Exception:
            log.exception("request %d failed", request.request_id)
            return RequestOutcome.FAILED, "It failed; the log of the maintenance worker says why.", None

    def _run(self, request: ProofRequest) -> Result:
        report = self._reconciler.run(full=request.mode is RequestMode.FULL, asked_by=request.asked_by)
        found = len(report.breaks)
        return RequestOutcome.DONE, f"{found or 'No'} {'break' if found == 1 else 'breaks'} found.", report.run_id

    def _repaired(self, request: ProofRequest) -> Result:
        assert request.account_id is not None
        repair = self._repair.run_account(request.account_id, request.asked_by, request.reason)
        if repair.in_doubt:
            kinds = ", ".join(sorted({one.kind.value for one in repair.in_doubt}))
            detail = f"Nothing was changed: the ledger itself is in doubt ({kinds})."
            return RequestOutcome.REFUSED, detail, repair.proof.run_id
        if not repair.repaired:
            detail = "Nothing was changed: the account is right in the cache."
            return RequestOutcome.REFUSED, detail, repair.proof.run_id
        left = [one for one in repair.proof.breaks if one.account_id == request.account_id and one.kind in OF_THE_CACHE]
        if left:
            detail = "The account was rebuilt, and a break of it was found again."
            return RequestOutcome.FAILED, detail, repair.proof.run_id
        return RequestOutcome.DONE, "The account was rebuilt from the ledger and found right.", repair.proof.run_id
