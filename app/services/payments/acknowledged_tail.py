"""What this process has acknowledged last: the payments that it can name if the cache turns out to have lost them."""

from collections import deque
from contextlib import suppress

from app.domain.cache_identity import highest
from app.domain.payment import OutboxPosition

KEPT = 4_000
"""Acknowledgements that are kept of each partition, about 65 bytes each; seconds under full load, hours otherwise."""

NEARLY_LAST = 256
"""Threads add theirs nearly in order: the highest stream id is among this many."""


class AcknowledgedTail:
    """The last acknowledged stream ids of each partition. Threads may add to it at any time."""

    def __init__(self, partitions: int) -> None:
        self._stream_ids = [deque[str](maxlen=KEPT) for _ in range(partitions)]

    def add(self, outbox_position: OutboxPosition) -> None:
        """Remember what is about to be acknowledged."""
        self._stream_ids[outbox_position.partition].append(outbox_position.stream_id)

    def highest(self) -> dict[int, str]:
        """The highest stream id that was acknowledged in each partition; empty where there was none."""
        return {number: highest(list(one)[-NEARLY_LAST:]) for number, one in enumerate(self._stream_ids)}

    def positions(self) -> list[OutboxPosition]:
        """All that is remembered."""
        return [
            OutboxPosition(number, stream_id) for number, one in enumerate(self._stream_ids) for stream_id in list(one)
        ]

    def remove(self, outbox_position: OutboxPosition) -> None:
        """Forget one that is lost."""
        with suppress(ValueError):  # newer ones may have pushed it out
            self._stream_ids[outbox_position.partition].remove(outbox_position.stream_id)
