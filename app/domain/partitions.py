"""Partitions, and payment ids that say where the payment's intent lies."""

import re
from dataclasses import dataclass
from zlib import crc32

DEFAULT_PARTITIONS = 16
"""Enough for a cluster of sixteen masters; fixed at the first migration, because ids carry the partition."""


def partition_of(key: str, partitions: int) -> int:
    """The partition of an account id (or of any other key): CRC-32 of its UTF-8 bytes, modulo the count."""
    return crc32(key.encode()) % partitions


_PAYMENT_ID = re.compile(r"pay_(\d{1,5})_(\d{1,15})_(\d{1,10})", re.ASCII)


@dataclass(slots=True, frozen=True)
class PaymentPosition:
    """Where a payment's intent stands: its partition and its position in that partition's outbox.

    The position is the stream id `<milliseconds>-<sequence>`, so the payment id needs no index while the payment
    is pending, sorts by acceptance within its partition, and says when the payment was accepted.
    """

    partition: int
    position: str

    @property
    def payment_id(self) -> str:
        """The public id, e.g. `pay_7_1763656270123_0`."""
        return f"pay_{self.partition}_{self.position.replace('-', '_')}"

    @property
    def accepted_at_ms(self) -> int:
        """When the intent was recorded, in milliseconds since 1970 UTC, by the cache's clock."""
        return int(self.position.partition("-")[0])


def parse_payment_id(payment_id: str) -> PaymentPosition | None:
    """The position behind a payment id; None where the text is not one."""
    match = _PAYMENT_ID.fullmatch(payment_id)
    if match is None:
        return None
    return PaymentPosition(int(match[1]), f"{match[2]}-{match[3]}")


def position_order(position: str) -> tuple[int, int]:
    """A sort key for outbox positions: text order is not stream order."""
    milliseconds, _, sequence = position.partition("-")
    return int(milliseconds), int(sequence)
