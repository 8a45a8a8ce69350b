"""Settlement: what the cache and the waiters are told of a committed posting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.ledger_rows import LedgerBalance, PostingPlan, QueuedIntent, by_partition
from app.domain.payment import CONCLUSIONS, Kind, parse_payment_id
from app.domain.reservations import RecordState
from app.domain.timestamps import to_milliseconds


@dataclass(slots=True)
class AccountSettlement:
    """What one account's cache is to become: the ledger's balance at `entry_count`, and the positions to free.

    A posted position has become an entry; a released one was rejected or a duplicate.
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
    """News for the waiters of one partition: which positions the books have answered, and how.

    `up_to` speaks of every position to it, `done` of single ones. Of the answered ones, those in `refused` were not
    posted under their own id. `exhausted` ones are still pending, after all retries of this round.
    """

    partition: int
    up_to: str = ""
    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    exhausted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PartitionSettlement:
    """What one partition's cache is to become.

    `records` are idempotency records to rewrite. `done_up_to` trims the outbox of everything up to that position;
    `done` removes single positions instead.
    """

    partition: int
    accounts: Sequence[AccountSettlement]
    records: Mapping[tuple[str, str], str] = field(default_factory=dict)
    done_up_to: str = ""
    done: Sequence[str] = ()
    notice: Notice | None = None

    @property
    def trims(self) -> bool:
        """Whether intents leave the outbox, so that nobody would find again what was not done before."""
        return bool(self.done_up_to or self.done)


def settlements_of(
    queued: Sequence[QueuedIntent],
    plan: PostingPlan,
    balances: Mapping[str, LedgerBalance],
    partition_of: Callable[[str], int],
    *,
    whole: bool,
) -> list[PartitionSettlement]:
    """The settlements of a batch; `whole` says that it is all that stands in the outboxes before its last positions.

    An account with a hold to drop is told in the settlement that trims its partition: if that one is lost, its
    intents bring it back. Every other account is told in one that trims nothing.
    """
    drained = by_partition(queued)
    guarding: dict[int, list[AccountSettlement]] = {partition: [] for partition in drained}
    others: dict[int, list[AccountSettlement]] = {}
    for account in _accounts(queued, plan, balances).values():
        partition = partition_of(account.account_id)
        group = guarding if (account.posted or account.released) and partition in drained else others
        group.setdefault(partition, []).append(account)
    settlements = [PartitionSettlement(partition, accounts) for partition, accounts in others.items()]
    for partition, intents in drained.items():
        settlements.append(_trimming(partition, intents, guarding[partition], plan, whole=whole))
    return settlements


def _trimming(
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


def _accounts(
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
    for queued in batch:
        intent = queued.intent
        settlement = settlements.get(intent.guarded_account_id)
        if settlement is None:
            continue  # the books do not know the account; its hold goes with the account's cache
        if released and queued.outbox_position.payment_id in released:
            settlement.released.append(queued.outbox_position.stream_id)
            continue
        if intent.kind in CONCLUSIONS:
            # Gone already, unless a hydration has brought it back from books that were a moment behind.
            settlement.released.append(_position_of(queued.payment_id))
        if intent.kind != Kind.AUTHORIZATION:
            settlement.posted.append(queued.outbox_position.stream_id)
    return settlements


def _position_of(payment_id: str) -> str:
    outbox_position = parse_payment_id(payment_id)
    assert outbox_position is not None
    return outbox_position.stream_id


def _new_records(plan: PostingPlan, partition: int) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The idempotency records to rewrite, and the positions that were not posted under their own id."""
    records, refused = {}, []
    for rejection in plan.rejections:
        if rejection.queued.outbox_position.partition == partition:
            stream_id = rejection.queued.outbox_position.stream_id
            if rejection.queued.intent.kind not in CONCLUSIONS:  # the record is the authorization's, which stands
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
