"""Settlement: what the cache and the waiters are told after a posting is committed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.ledger_rows import LedgerBalance, PostingPlan, QueuedIntent, by_partition
from app.domain.payment import CONCLUSIONS, Kind, stream_id_of
from app.domain.reservations import RecordState
from app.domain.timestamps import to_milliseconds

WITHOUT_ENTRIES = frozenset({Kind.AUTHORIZATION, Kind.VOID, Kind.EXPIRY})
"""Kinds of intents that the ledger records without an entry. Settling counts entries to tell credits from holds."""


@dataclass(slots=True)
class AccountSettlement:
    """What one account becomes in the cache: the ledger's balance at `entry_count`, without the holds of these intents.

    `posted` are the stream ids of intents that became an entry of the account. `released` are those whose holds go
    without an entry: of intents that were rejected or duplicates, and of authorizations that are concluded.
    """

    account_id: str
    balance_minor: int
    entry_count: int
    version: int
    updated_at_ms: int
    posted: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Notice:
    """News for the waiters of one partition: which intents the ledger has decided, by stream id.

    Every intent up to `up_to` is decided, and each one in `done`. Those of them in `refused` were not posted under
    their own id. Those in `exhausted` are still pending after all retries of this round.
    """

    partition: int
    up_to: str = ""
    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    exhausted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PartitionSettlement:
    """What one partition of the cache becomes.

    `records` are idempotency records to rewrite. `done_up_to` is the stream id up to which the outbox is trimmed;
    `done` are the stream ids of single intents to remove instead.
    """

    partition: int
    accounts: Sequence[AccountSettlement]
    records: Mapping[tuple[str, str], str] = field(default_factory=dict)
    done_up_to: str = ""
    done: Sequence[str] = ()
    notice: Notice | None = None

    @property
    def trims(self) -> bool:
        """Whether intents leave the outbox; then everything that they explain must have been settled before."""
        return bool(self.done_up_to or self.done)


def settlements_of(
    queued: Sequence[QueuedIntent],
    plan: PostingPlan,
    balances: Mapping[str, LedgerBalance],
    partition_of: Callable[[str], int],
    *,
    whole: bool,
) -> list[PartitionSettlement]:
    """The settlements of a batch. `balances` are the rows of its accounts after the posting.

    `whole` says that no other intent precedes the batch's last ones in their outboxes, so those can be trimmed.

    An account with a hold to drop goes into the settlement that trims its partition: if that call is lost, the intents
    are still there and settle it again. Every other account goes into a settlement that trims nothing.
    """
    drained = by_partition(queued)
    guarding: dict[int, list[AccountSettlement]] = {partition: [] for partition in drained}
    others: dict[int, list[AccountSettlement]] = {}
    for account in _account_settlements(queued, plan, balances).values():
        partition = partition_of(account.account_id)
        group = guarding if (account.posted or account.released) and partition in drained else others
        group.setdefault(partition, []).append(account)
    settlements = [PartitionSettlement(partition, accounts) for partition, accounts in others.items()]
    for partition, intents in drained.items():
        settlements.append(_trimming_settlement(partition, intents, guarding[partition], plan, whole=whole))
    return settlements


def _trimming_settlement(
    partition: int,
    queued: Sequence[QueuedIntent],
    accounts: Sequence[AccountSettlement],
    plan: PostingPlan,
    *,
    whole: bool,
) -> PartitionSettlement:
    records, refused = _new_records(plan, partition)
    stream_ids = [one.outbox_position.stream_id for one in queued]
    last = stream_ids[-1]
    if whole:
        notice = Notice(partition, up_to=last, refused=refused)
        return PartitionSettlement(partition, accounts, records, done_up_to=last, notice=notice)
    notice = Notice(partition, done=stream_ids, refused=refused)
    return PartitionSettlement(partition, accounts, records, done=stream_ids, notice=notice)


def _account_settlements(
    batch: Sequence[QueuedIntent], plan: PostingPlan, balances: Mapping[str, LedgerBalance]
) -> dict[str, AccountSettlement]:
    settlements = {
        row.account_id: AccountSettlement(
            row.account_id, row.balance_minor, row.entry_count, row.version, to_milliseconds(row.updated_at)
        )
        for row in balances.values()
    }
    released = {rejection.queued.outbox_position.payment_id for rejection in plan.rejections}
    released |= {duplicate.queued.outbox_position.payment_id for duplicate in plan.duplicates}
    released |= {queued.outbox_position.payment_id for queued, was_posted in plan.redelivered if not was_posted}
    released |= plan.ended
    for queued in batch:
        intent = queued.intent
        settlement = settlements.get(intent.guarded_account_id)
        if settlement is None:
            continue  # the ledger does not know the account; its hold goes when its cache goes
        if released and queued.outbox_position.payment_id in released:
            settlement.released.append(queued.outbox_position.stream_id)
            continue
        if intent.kind in CONCLUSIONS:
            # Gone already, unless a hydration has brought it back from a ledger that was a moment late.
            settlement.released.append(stream_id_of(queued.payment_id))
        if intent.kind not in WITHOUT_ENTRIES:
            settlement.posted.append(queued.outbox_position.stream_id)
    return settlements


def _new_records(plan: PostingPlan, partition: int) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The idempotency records to rewrite, and the stream ids that were not posted under their own id."""
    records, refused = {}, []
    for rejection in plan.rejections:
        if rejection.queued.outbox_position.partition == partition:
            stream_id = rejection.queued.outbox_position.stream_id
            if rejection.queued.intent.kind not in CONCLUSIONS:  # the record belongs to the authorization, which stays
                records[rejection.queued.key] = f"{RecordState.REJECTED}{stream_id}"
            refused.append(stream_id)
    for duplicate in plan.duplicates:
        if duplicate.queued.outbox_position.partition == partition:
            records[duplicate.queued.key] = f"{RecordState.DUPLICATE}{duplicate.original_payment_id}"
            refused.append(duplicate.queued.outbox_position.stream_id)
    for queued, was_posted in plan.redelivered:
        if queued.outbox_position.partition == partition and not was_posted:
            if queued.intent.kind not in CONCLUSIONS:
                records[queued.key] = f"{RecordState.REJECTED}{queued.outbox_position.stream_id}"
            refused.append(queued.outbox_position.stream_id)
    return records, refused
