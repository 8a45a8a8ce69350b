"""The values that posting works on: intents from the outbox, rows of the ledger, and the plan of what to write.

`app/domain/posting_plan.py` makes the plan, `app/ledger/` writes it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.authorizations import Authorization
from app.domain.hash_chain import EntryRow, TransactionRow
from app.domain.payment import Intent, Kind, OutboxPosition
from app.domain.refusals import Refusal
from app.domain.timestamps import EPOCH

HOLD_SEPARATOR = "\x1f"
"""Separates the parts of the external id of a journal's hold. No caller can send it, because it is not printable."""


@dataclass(slots=True)
class QueuedIntent:
    """An intent and its position in the outbox."""

    outbox_position: OutboxPosition
    intent: Intent

    @property
    def key(self) -> tuple[str, str]:
        """Entity and external id: together they are unique forever."""
        return self.intent.entity_id, self.intent.external_id

    @property
    def payment_id(self) -> str:
        """The payment that the intent belongs to: the authorization that it concludes, or itself."""
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
    """An account's row in the ledger: its balance on the normal side after `entry_count` entries, in minor units."""

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
    """What the ledger already has under an external id."""

    payment_id: str
    fingerprint: str
    posted: bool
    is_concluded: bool = False
    """Whether it is an authorization that was captured, voided or expired."""


@dataclass(slots=True)
class Rejection:
    """An acknowledged intent that the ledger refuses."""

    queued: QueuedIntent
    refusal: Refusal


@dataclass(slots=True)
class Duplicate:
    """A late repeat of a payment that is posted already."""

    queued: QueuedIntent
    original_payment_id: str


@dataclass(slots=True, frozen=True)
class PaymentReturn:
    """What one destination of a payment gives back; minor units.

    `returned_minor` is the running sum after it. A negative amount gives it to the destination again.
    """

    payment_id: str
    account_id: str
    amount_minor: int
    returned_minor: int


@dataclass(slots=True)
class PostingPlan:
    """What is to be written for a batch, all or nothing."""

    posted_at: datetime
    transactions: list[TransactionRow] = field(default_factory=list)
    entries: list[EntryRow] = field(default_factory=list)
    balances: dict[str, LedgerBalance] = field(default_factory=dict)
    """The rows of the accounts that change, as they are after the batch."""
    balances_before: list[LedgerBalance] = field(default_factory=list)
    """The same rows before the batch, in the same order."""
    heads: dict[int, ChainHead] = field(default_factory=dict)
    """The heads of the chains that grow, as they are after the batch."""
    heads_before: list[ChainHead] = field(default_factory=list)
    """The same heads before the batch, in the same order."""
    posted: list[QueuedIntent] = field(default_factory=list)
    """The intents that are in the ledger after it and were not before: as transactions, or as what became of holds."""
    rejections: list[Rejection] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    redelivered: list[tuple[QueuedIntent, bool]] = field(default_factory=list)
    """Intents whose outcome is in the ledger already, and whether that is a posting; they only need settling."""
    ended: set[str] = field(default_factory=set)
    """Payment ids of redelivered authorizations that the ledger has concluded since. The cache may hold their funds
    again, because an older copy of it has the intent and not the conclusion."""
    authorized: list[Authorization] = field(default_factory=list)
    concluded: list[Authorization] = field(default_factory=list)
    returns: list[tuple[int, int, PaymentReturn]] = field(default_factory=list)
    """What payments give back, each with the partition and chain_seq of the transaction that takes it."""


REMEMBERED_ACCOUNTS = 50_000
"""Rows kept from one turn to the next, some 400 bytes each."""


@dataclass(slots=True)
class RememberedRows:
    """The rows of accounts and chains as a drain last knew them. Rows are replaced, never changed."""

    balances: dict[str, LedgerBalance] = field(default_factory=dict)
    heads: dict[int, ChainHead] = field(default_factory=dict)
    latest: datetime = EPOCH
    """The latest time in any of these rows."""

    def learn(self, balances: Mapping[str, LedgerBalance], heads: Mapping[int, ChainHead]) -> None:
        """Remember rows as they are in the ledger."""
        self.balances.update(balances)
        self.heads.update(heads)
        seen = [row.updated_at for row in balances.values()] + [head.last_posted_at for head in heads.values()]
        self.latest = max(self.latest, *seen)

    def apply(self, plan: PostingPlan) -> None:
        """Remember rows as they will be when a plan is written."""
        self.balances.update(plan.balances)
        self.heads.update(plan.heads)
        self.latest = plan.posted_at

    def forget(self) -> None:
        """Forget every row: one was not as remembered, or a plan was not written."""
        self.balances.clear()
        self.heads.clear()
        self.latest = EPOCH

    def forget_if_large(self) -> None:
        """Forget every row if there are too many."""
        if len(self.balances) > REMEMBERED_ACCOUNTS:
            self.forget()

    def knows_chains(self, batch: Sequence[QueuedIntent]) -> bool:
        """Whether the heads of all chains that a batch advances are remembered."""
        return {queued.outbox_position.partition for queued in batch} <= self.heads.keys()

    def unknown_accounts(self, batch: Sequence[QueuedIntent]) -> set[str]:
        """The accounts of a batch whose rows are not remembered."""
        touched = {leg.account_id for queued in batch for leg in queued.intent.legs}
        return touched - self.balances.keys()


def units(batch: Iterable[QueuedIntent]) -> Iterator[list[QueuedIntent]]:
    """The groups that must be posted or rejected as one: a single intent, or all of an atomic batch.

    The intents of an atomic batch follow one another. A single intent is yielded before the next one is read.
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
    """Entity and external id of the journal for which a journal's hold was made."""
    return queued.intent.entity_id, queued.intent.external_id.partition(HOLD_SEPARATOR)[0]
