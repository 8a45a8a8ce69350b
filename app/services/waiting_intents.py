"""All intents that wait in a partition's outbox, page by page."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from app.domain.posting import QueuedIntent

INTENTS_AT_ONCE = 500
"""How many are looked at in one call: a long one blocks the cache's server."""


class Outboxes(Protocol):
    """The cache, for what is on its way to the books."""

    def outbox(self, partition: int, after: str = "0", limit: int = 1_000) -> Sequence[QueuedIntent]: ...


def pages(funds: Outboxes, partition: int) -> Iterator[Sequence[QueuedIntent]]:
    """The intents in order; what comes while they are read is among them or not."""
    after = "0"
    while page := funds.outbox(partition, after, INTENTS_AT_ONCE):
        yield page
        after = page[-1].place.position


def concluding(funds: Outboxes, partition: int) -> set[str]:
    """The authorizations, by payment id, that waiting intents conclude."""
    return {queued.payment_id for page in pages(funds, partition) for queued in page if queued.intent.payment_id}
