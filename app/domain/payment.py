"""Payments: what a client asks for, the intent it becomes, and the outbox position that a payment id names."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from zlib import crc32

from app.domain.splits import Destination
from app.domain.timestamps import credible_milliseconds

DEFAULT_PARTITIONS = 16
"""Enough for a cluster of sixteen masters; fixed at the first migration, because payment ids name the partition."""


def partition_of(key: str, partitions: int) -> int:
    """The partition of an account id (or of any other key): CRC-32 of its UTF-8 bytes, modulo the count."""
    return crc32(key.encode()) % partitions


_PAYMENT_ID = re.compile(r"pay_(\d{1,5})_(\d{1,15})_(\d{1,10})", re.ASCII)


@dataclass(slots=True, frozen=True)
class OutboxPosition:
    """The place of an intent: its partition, and its stream id in the outbox of that partition.

    The stream id is `<milliseconds>-<sequence>`. So a pending payment is found by its id without an index, ids sort by
    acceptance within a partition, and an id usually says when the payment was accepted.
    """

    partition: int
    stream_id: str

    @property
    def payment_id(self) -> str:
        """The public id, e.g. `pay_7_1763656270123_0`."""
        return f"pay_{self.partition}_{self.stream_id.replace('-', '_')}"

    @property
    def stamped_ms(self) -> int:
        """The time in the stream id, in milliseconds since 1970 UTC. It may lie ahead of every clock."""
        return int(self.stream_id.partition("-")[0])

    def accepted_at_ms(self, now_ms: int) -> int:
        """When the intent was recorded, in milliseconds since 1970 UTC; not after `now_ms` by more than a moment."""
        return credible_milliseconds(self.stamped_ms, now_ms)


def parse_payment_id(payment_id: str) -> OutboxPosition | None:
    """The outbox position that a payment id names; None if the text is not a payment id."""
    match = _PAYMENT_ID.fullmatch(payment_id)
    if match is None:
        return None
    return OutboxPosition(int(match[1]), f"{match[2]}-{match[3]}")


def stream_id_of(payment_id: str) -> str:
    """The stream id in a payment id, which must be one."""
    outbox_position = parse_payment_id(payment_id)
    assert outbox_position is not None
    return outbox_position.stream_id


def stream_id_order(stream_id: str) -> tuple[int, int]:
    """A sort key for stream ids: the order of the texts is not the order of the stream."""
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence)


class Kind(StrEnum):
    """What an intent is."""

    PAYMENT = "payment"
    AUTHORIZATION = "authorization"
    CAPTURE = "capture"
    VOID = "void"
    EXPIRY = "expiry"
    JOURNAL = "journal"
    REVERSAL = "reversal"
    REFUND = "refund"
    JOURNAL_HOLD = "journal_hold"
    """Holds funds for a journal, reversal or refund while that is posted; it is never posted itself."""


HOLD_ONLY = frozenset({Kind.AUTHORIZATION, Kind.VOID, Kind.EXPIRY, Kind.JOURNAL_HOLD})
POSTED_KINDS = tuple(kind.value for kind in Kind if kind not in HOLD_ONLY)
"""What becomes entries in the ledger."""
CONCLUSIONS = frozenset({Kind.CAPTURE, Kind.VOID, Kind.EXPIRY})


@dataclass(slots=True)
class PaymentRequest:
    """A payment as asked for: debit the source, credit the destination or several. Amounts in minor units.

    With `manual_capture` the funds are only held, for `expires_in_s` seconds.
    """

    external_id: str
    source_account_id: str
    destination_account_id: str | None
    amount_minor: int
    currency_code: str
    description: str | None = None
    effective_at: datetime | None = None
    expected_version: int | None = None
    metadata: dict[str, Any] | None = None
    destinations: tuple[Destination, ...] = ()
    manual_capture: bool = False
    expires_in_s: int | None = None
    awaited: bool = False
    """Whether the caller waits for the ledger. Not part of the content: it only shortens the drain's pause."""
    entities: frozenset[str] | None = None
    """The entities that the caller may act for; None is all of them. Accounts of others do not exist for it."""

    @property
    def destination_ids(self) -> tuple[str, ...]:
        """The credited accounts, in order."""
        if self.destination_account_id is not None:
            return (self.destination_account_id,)
        return tuple(one.account_id for one in self.destinations)


@dataclass(slots=True)
class Leg:
    """One side of a movement: a signed amount in minor units, debit positive."""

    account_id: str
    amount_minor: int


@dataclass(slots=True)
class Intent:
    """A decided movement as the outbox keeps it, with everything that posting needs.

    `hold_minor` is held on the guarded account until the intent is settled, an authorization's until it is concluded;
    0 if the balance rises.
    """

    entity_id: str
    external_id: str
    fingerprint: str
    guarded_account_id: str
    hold_minor: int
    currency_code: str
    legs: list[Leg]
    actor: str
    kind: str = "payment"
    description: str | None = None
    effective_at: datetime | None = None
    metadata: dict[str, Any] | None = field(default=None)
    expires_in_s: int | None = None
    payment_id: str | None = None
    """The authorization that a capture, void or expiry concludes."""
    linked: str | None = None
    """The group of an atomic batch, contiguous in the outbox: the ledger posts all of it or rejects all of it."""
    awaited: bool = False
    """Whether somebody waits until it is posted, so that the drain does not pause."""
    former_fingerprints: tuple[str, ...] = ()
    """What earlier versions took as the fingerprint of the same content, where it was another."""
    origin: str | None = None
    """The call that it comes from (`Origin.as_text`); None where it comes from none, or from an earlier version."""

    def has_fingerprint(self, other: str) -> bool:
        """Whether a fingerprint on record, by whichever version, is that of this content."""
        return other == self.fingerprint or other in self.former_fingerprints

    @property
    def source_account_id(self) -> str:
        """The debited account."""
        return self.legs[0].account_id

    @property
    def destination_account_id(self) -> str | None:
        """The credited account; None if there are several."""
        return self.legs[1].account_id if len(self.legs) == 2 else None

    @property
    def moves_money(self) -> bool:
        """Whether it becomes entries; an authorization, a void or an expiry only changes what is held."""
        return self.kind not in HOLD_ONLY

    @property
    def amount_minor(self) -> int:
        """What moves, in minor units."""
        return self.legs[0].amount_minor
