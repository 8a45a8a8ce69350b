"""What a round of the drain did."""

import logging
from dataclasses import dataclass

from app.domain.holds import HoldState
from app.domain.posting import PostingPlan

log = logging.getLogger(__name__)


@dataclass(slots=True)
class DrainReport:
    """What one round did, in payments."""

    posted: int = 0
    rejected: int = 0
    duplicates: int = 0
    deferred: int = 0
    conflicts: int = 0
    exhausted: int = 0
    awaited: int = 0
    """For how many somebody waits, or waited."""

    @property
    def settled(self) -> int:
        """How many payments left the outbox."""
        return self.posted + self.rejected + self.duplicates

    def add(self, other: "DrainReport") -> None:
        """Add another round to this one."""
        self.posted += other.posted
        self.rejected += other.rejected
        self.duplicates += other.duplicates
        self.deferred += other.deferred
        self.conflicts += other.conflicts
        self.exhausted += other.exhausted
        self.awaited += other.awaited

    def count(self, plan: PostingPlan) -> None:
        """Count what a committed plan has done, and log what it rejected."""
        self.posted = len(plan.transactions) + len(plan.authorized) + len(plan.concluded)
        self.posted -= sum(hold.state is HoldState.CAPTURED for hold in plan.concluded)
        self.posted += sum(posted for _, posted in plan.redelivered)
        self.rejected = len(plan.rejections) + sum(not posted for _, posted in plan.redelivered)
        self.duplicates = len(plan.duplicates)
        for rejection in plan.rejections:
            log.error("payment %s rejected: %s", rejection.queued.place.payment_id, rejection.refusal.detail)
