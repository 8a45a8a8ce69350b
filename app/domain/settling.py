"""What a committed posting plan tells the cache."""

from collections.abc import Callable, Mapping, Sequence

from app.domain.clock import to_milliseconds
from app.domain.decisions import RecordState
from app.domain.partitions import parse_payment_id
from app.domain.payments import CONCLUSIONS, Kind
from app.domain.posting import LedgerBalance, PostingPlan, QueuedIntent, by_partition
from app.domain.settlement import AccountSettlement, Notice, PartitionSettlement


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
    positions = [one.place.position for one in queued]
    last = positions[-1]
    if whole:
        notice = Notice(partition, up_to=last, refused=refused)
        return PartitionSettlement(partition, accounts, records, done_up_to=last, notice=notice)
    notice = Notice(partition, done=positions, refused=refused)
    return PartitionSettlement(partition, accounts, records, done=positions, notice=notice)


def _accounts(
    batch: Sequence[QueuedIntent], plan: PostingPlan, balances: Mapping[str, LedgerBalance]
) -> dict[str, AccountSettlement]:
    settlements = {
        row.account_id: AccountSettlement(
            row.account_id, row.balance_minor, row.entry_count, row.version, to_milliseconds(row.updated_at)
        )
        for row in balances.values()
    }
    released = {rejection.queued.place.payment_id for rejection in plan.rejections}
    released |= {duplicate.queued.place.payment_id for duplicate in plan.duplicates}
    released |= {queued.place.payment_id for queued, was_posted in plan.redelivered if not was_posted}
    for queued in batch:
        intent = queued.intent
        settlement = settlements.get(intent.guarded_account_id)
        if settlement is None:
            continue  # the books do not know the account; its hold goes with the account's cache
        if released and queued.place.payment_id in released:
            settlement.released.append(queued.place.position)
            continue
        if intent.kind in CONCLUSIONS:
            # Gone already, unless a hydration has brought it back from books that were a moment behind.
            settlement.released.append(_position_of(queued.payment_id))
        if intent.kind != Kind.AUTHORIZATION:
            settlement.posted.append(queued.place.position)
    return settlements


def _position_of(payment_id: str) -> str:
    place = parse_payment_id(payment_id)
    assert place is not None
    return place.position


def _new_records(plan: PostingPlan, partition: int) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The idempotency records to rewrite, and the positions that were not posted under their own id."""
    records, refused = {}, []
    for rejection in plan.rejections:
        if rejection.queued.place.partition == partition:
            position = rejection.queued.place.position
            if rejection.queued.intent.kind not in CONCLUSIONS:  # the record is the authorization's, which stands
                records[rejection.queued.key] = f"{RecordState.REJECTED}{position}"
            refused.append(position)
    for duplicate in plan.duplicates:
        if duplicate.queued.place.partition == partition:
            records[duplicate.queued.key] = f"{RecordState.DUPLICATE}{duplicate.original_payment_id}"
            refused.append(duplicate.queued.place.position)
    for queued, was_posted in plan.redelivered:
        if queued.place.partition == partition and not was_posted:
            if queued.intent.kind not in CONCLUSIONS:
                records[queued.key] = f"{RecordState.REJECTED}{queued.place.position}"
            refused.append(queued.place.position)
    return records, refused
