"""What a process measures of the cache; `/metrics` adds it up over all processes of a machine."""

import time
from collections.abc import Sequence

from prometheus_client import Counter, Histogram

from app.domain.settlement import PartitionSettlement

RESERVE_SECONDS = Histogram(
    "holdfast_reserve_seconds",
    "One round trip that decides payments, also those of other callers",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0),
)
HYDRATIONS = Counter("holdfast_hydrations", "Accounts brought from the ledger into the cache")
TIME_TO_POSTED = Histogram(
    "holdfast_time_to_posted_seconds",
    "From acceptance until posted and settled, of the oldest payment of each batch",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)


def note_settled(settlements: Sequence[PartitionSettlement]) -> None:
    """Note how long the oldest payment of a batch has waited, by its stream id and this machine's clock."""
    # Stream ids of our time have equally many digits, so the smallest text is the oldest.
    oldest = min((one.posted[0] for part in settlements for one in part.accounts if one.posted), default=None)
    if oldest is not None:
        TIME_TO_POSTED.observe(max(0.0, time.time() - int(oldest.partition("-")[0]) / 1000))
