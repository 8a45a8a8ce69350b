"""The rows that posting works on: intents out of the outbox, accounts and chains as the books have them, and the plan.

`app/domain/posting_plan.py` makes the plan. Nothing here writes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.authorizations import Authorization
from app.domain.hash_chain import LedgerTransaction
from app.domain.payment import Intent, Kind, OutboxPosition
from app.domain.refusals import Refusal

HOLD_SEPARATOR = "\x1f"
"""Stands in the external id of a journal's hold; no caller can send it, for it is not printable."""


@dataclass(slots=True)
class QueuedIntent:
    """An intent and where it stands in the outbox."""

    outbox_position: OutboxPosition
    intent: Intent

    @property
    def key(self) -> tuple[str, str]:
        """What is unique for ever: entity and external id."""
        return self.intent.entity_id, self.intent.external_id

    @property
    def payment_id(self) -> str:
        """The payment it belongs to: the authorization that it concludes, or itself."""
        return self.intent.payment_id or self.outbox_position.payment_id

    @property
    def account_ids(self) -> list[str]:
        """The accounts whose rows the posting changes."""
        guarded = self.intent.guarded_account_id
        if not self.intent.moves_money and self.intent.kind != Kind.JOURNAL_HOLD:
            return [guarded]
        account_ids = [leg.account_id for leg in self.intent.legs]
        # A partial capture may leave the guarded account without a leg; its hold is settled all the same.
        return account_ids if guarded in account_ids else [*account_ids, guarded]


@dataclass(slots=True)
class LedgerBalance:
    """An account's row in the books: balance on its normal side after `entry_count` entries, minor units."""

    account_id: str
    entity_id: str
    currency_code: str
    normal_sign: int
    balance_minor: int
    floor_minor: int | None
    version: int
    entry_count: int
    updated_at: datetime


@dataclass(slots=True)
class ChainHead:
    """The end of a partition's hash chain."""

    partition: int
    chain_seq: int
    chain_hash: bytes
    last_position: str
    last_posted_at: datetime


@dataclass(slots=True)
class KnownOutcome:
    """What the books already say of an external id."""

    payment_id: str
    fingerprint: str
    posted: bool


@dataclass(slots=True)
class Rejection:
    """An acknowledged intent that the books refuse."""

    queued: QueuedIntent
    refusal: Refusal


@dataclass(slots=True)
class Duplicate:
    """A late repeat of what is posted already."""

    queued: QueuedIntent
    original_payment_id: str


@dataclass(slots=True)
class Delta:
    """What a batch adds to an account: to its balance on the normal side, to its entries, to its version."""

    change_minor: int = 0
    entries: int = 0
    versions: int = 0


@dataclass(slots=True)
class PostingPlan:
    """What is to be written for a batch, all or nothing."""

    transactions: list[LedgerTransaction] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    redelivered: list[tuple[QueuedIntent, bool]] = field(default_factory=list)
    """Intents whose outcome is in the books already, and whether that is a posting; only their settle is due."""
    authorized: list[Authorization] = field(default_factory=list)
    concluded: list[Authorization] = field(default_factory=list)
    deltas: dict[str, Delta] = field(default_factory=dict)


def units(batch: Iterable[QueuedIntent]) -> Iterator[list[QueuedIntent]]:
    """What must be posted or rejected as one: each intent, or all of an atomic batch, which stand together.

    An intent that is not linked is given out before the next one is asked for.
    """
    group: list[QueuedIntent] = []
    for queued in batch:
        if group and queued.intent.linked != group[0].intent.linked:
            yield group
            group = []
        if queued.intent.linked is None:
            yield [queued]
        else:
            group.append(queued)
    if group:
        yield group


def by_partition(queued: Iterable[QueuedIntent]) -> dict[int, list[QueuedIntent]]:
    """The intents of each partition, in order."""
    groups: dict[int, list[QueuedIntent]] = {}
    for one in queued:
        groups.setdefault(one.outbox_position.partition, []).append(one)
    return groups


def journal_key(queued: QueuedIntent) -> tuple[str, str]:
    """Entity and external id of the journal that a journal's hold was made for."""
    return queued.intent.entity_id, queued.intent.external_id.partition(HOLD_SEPARATOR)[0]
