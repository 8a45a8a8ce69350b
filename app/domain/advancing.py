"""What one intent that is fit to be posted does to the plan, to the rows of its accounts and to its chain."""

from collections.abc import Mapping
from datetime import datetime

from app.domain.clock import from_milliseconds
from app.domain.entries import Entry, LedgerTransaction, chain_hash
from app.domain.holds import Hold, HoldState
from app.domain.payments import CONCLUSIONS, Kind, Leg
from app.domain.posting import ChainHead, Delta, LedgerBalance, PostingPlan, QueuedIntent
from app.domain.preparing import DEFAULT_EXPIRY_S

_STATE_AFTER = {
    Kind.CAPTURE: HoldState.CAPTURED,
    Kind.VOID: HoldState.VOIDED,
    Kind.EXPIRY: HoldState.EXPIRED,
}


def advance(
    plan: PostingPlan,
    queued: QueuedIntent,
    balances: dict[str, LedgerBalance],
    head: ChainHead,
    holds: dict[str, Hold],
    posted_at: datetime,
) -> None:
    """Advance everything by one intent that is fit to be posted."""
    intent = queued.intent
    if intent.moves_money:
        plan.transactions.append(_append(queued, plan.deltas, balances, head, posted_at))
    else:
        _touch(plan.deltas, balances[intent.guarded_account_id], posted_at)
    if intent.kind == Kind.AUTHORIZATION:
        hold = authorized_hold(queued)
        holds[hold.payment_id] = hold
        plan.authorized.append(hold)
    elif intent.kind in CONCLUSIONS:
        _conclude(plan, queued, holds[queued.payment_id], _STATE_AFTER[Kind(intent.kind)])
    head.last_position = queued.place.position


def release_rejected(
    plan: PostingPlan,
    queued: QueuedIntent,
    balances: dict[str, LedgerBalance],
    holds: Mapping[str, Hold],
    posted_at: datetime,
) -> None:
    """Void the authorization of a capture that the books refuse: the cache has let go of its funds already."""
    hold, row = holds.get(queued.payment_id), balances.get(queued.intent.guarded_account_id)
    if hold is None or row is None or hold.state is not HoldState.AUTHORIZED:
        return
    _conclude(plan, queued, hold, HoldState.VOIDED)
    _touch(plan.deltas, row, posted_at)


def _conclude(plan: PostingPlan, queued: QueuedIntent, hold: Hold, state: HoldState) -> None:
    hold.state = state
    hold.captured_minor = queued.intent.amount_minor if state is HoldState.CAPTURED else None
    hold.concluding_actor = queued.intent.actor
    hold.concluded_by = queued.place.payment_id
    hold.concluded_at = from_milliseconds(queued.place.accepted_at_ms)
    plan.concluded.append(hold)


def _touch(deltas: dict[str, Delta], row: LedgerBalance, posted_at: datetime) -> None:
    """A change of what is held: no entry, but a new version."""
    row.version += 1
    row.updated_at = posted_at
    deltas.setdefault(row.account_id, Delta()).versions += 1


def _append(
    queued: QueuedIntent,
    deltas: dict[str, Delta],
    balances: dict[str, LedgerBalance],
    head: ChainHead,
    posted_at: datetime,
) -> LedgerTransaction:
    intent = queued.intent
    entries = [advance_balance(leg, balances[leg.account_id], deltas, posted_at) for leg in intent.legs]
    accepted_at = from_milliseconds(queued.place.accepted_at_ms)
    transaction = LedgerTransaction(
        partition=head.partition,
        chain_seq=head.chain_seq + 1,
        entity_id=intent.entity_id,
        external_id=intent.external_id,
        kind=intent.kind,
        payment_id=queued.payment_id,
        relates_to=None,
        fingerprint=intent.fingerprint,
        actor=intent.actor,
        description=intent.description,
        metadata=intent.metadata,
        accepted_at=accepted_at,
        effective_at=intent.effective_at or accepted_at,
        posted_at=posted_at,
        entries=entries,
        previous_hash=head.chain_hash,
    )
    advance_head(head, transaction)
    return transaction


def advance_balance(leg: Leg, row: LedgerBalance, deltas: dict[str, Delta], posted_at: datetime) -> Entry:
    """Advance an account's row by one leg; the entry that the leg becomes."""
    account_id, amount_minor = leg.account_id, leg.amount_minor
    change = row.normal_sign * amount_minor
    row.balance_minor += change
    row.entry_count += 1
    row.version += 1
    row.updated_at = posted_at
    delta = deltas.get(account_id)
    if delta is None:
        delta = deltas[account_id] = Delta()
    delta.change_minor += change
    delta.entries += 1
    delta.versions += 1
    return Entry(account_id, row.entry_count, amount_minor, row.balance_minor, row.currency_code)


def advance_head(head: ChainHead, transaction: LedgerTransaction) -> None:
    """Hash a transaction that names the head as its predecessor, and make it the head."""
    transaction.hash = chain_hash(transaction)
    head.chain_seq = transaction.chain_seq
    head.chain_hash = transaction.hash
    head.last_posted_at = transaction.posted_at


def authorized_hold(queued: QueuedIntent) -> Hold:
    """The authorization that an intent of this kind becomes."""
    intent = queued.intent
    accepted_at = from_milliseconds(queued.place.accepted_at_ms)
    return Hold(
        payment_id=queued.place.payment_id,
        entity_id=intent.entity_id,
        external_id=intent.external_id,
        fingerprint=intent.fingerprint,
        guarded_account_id=intent.guarded_account_id,
        hold_minor=intent.hold_minor,
        currency_code=intent.currency_code,
        legs=intent.legs,
        state=HoldState.AUTHORIZED,
        expires_at=expires_at(queued),
        captured_minor=None,
        concluded_by=None,
        actor=intent.actor,
        description=intent.description,
        effective_at=intent.effective_at,
        metadata=intent.metadata,
        accepted_at=accepted_at,
        concluded_at=None,
    )


def expires_at(queued: QueuedIntent) -> datetime:
    """When an authorization expires, by the clock of the cache that accepted it."""
    seconds = queued.intent.expires_in_s or DEFAULT_EXPIRY_S
    return from_milliseconds(queued.place.accepted_at_ms + 1000 * seconds)
