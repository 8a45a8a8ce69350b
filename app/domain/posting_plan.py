"""What one intent that is fit to be posted does to the plan, to the rows of its accounts and to its chain."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.authorizations import Authorization, AuthorizationState, authorization_not_found, refuse_concluded
from app.domain.hash_chain import Entry, LedgerTransaction, chain_hash
from app.domain.ledger_rows import (
    ChainHead,
    Delta,
    Duplicate,
    KnownOutcome,
    LedgerBalance,
    PostingPlan,
    QueuedIntent,
    Rejection,
    journal_key,
    units,
)
from app.domain.money import in_range
from app.domain.payment import CONCLUSIONS, Intent, Kind, Leg
from app.domain.payment_checks import DEFAULT_EXPIRY_S, differing_field
from app.domain.refusals import Refusal, RefusalCode
from app.domain.timestamps import from_milliseconds

_STATE_AFTER = {
    Kind.CAPTURE: AuthorizationState.CAPTURED,
    Kind.VOID: AuthorizationState.VOIDED,
    Kind.EXPIRY: AuthorizationState.EXPIRED,
}


def advance(
    plan: PostingPlan,
    queued: QueuedIntent,
    balances: dict[str, LedgerBalance],
    head: ChainHead,
    authorizations: dict[str, Authorization],
    posted_at: datetime,
) -> None:
    """Advance everything by one intent that is fit to be posted."""
    intent = queued.intent
    if intent.moves_money:
        plan.transactions.append(_append(queued, plan.deltas, balances, head, posted_at))
    else:
        _touch(plan.deltas, balances[intent.guarded_account_id], posted_at)
    if intent.kind == Kind.AUTHORIZATION:
        authorization = authorization_of(queued)
        authorizations[authorization.payment_id] = authorization
        plan.authorized.append(authorization)
    elif intent.kind in CONCLUSIONS:
        _conclude(plan, queued, authorizations[queued.payment_id], _STATE_AFTER[Kind(intent.kind)])
    head.last_position = queued.outbox_position.stream_id


def release_rejected(
    plan: PostingPlan,
    queued: QueuedIntent,
    balances: dict[str, LedgerBalance],
    authorizations: Mapping[str, Authorization],
    posted_at: datetime,
) -> None:
    """Void the authorization of a capture that the books refuse: the cache has let go of its funds already."""
    authorization, row = authorizations.get(queued.payment_id), balances.get(queued.intent.guarded_account_id)
    if authorization is None or row is None or authorization.state is not AuthorizationState.AUTHORIZED:
        return
    _conclude(plan, queued, authorization, AuthorizationState.VOIDED)
    _touch(plan.deltas, row, posted_at)


def _conclude(plan: PostingPlan, queued: QueuedIntent, authorization: Authorization, state: AuthorizationState) -> None:
    authorization.state = state
    authorization.captured_minor = queued.intent.amount_minor if state is AuthorizationState.CAPTURED else None
    authorization.concluding_actor = queued.intent.actor
    authorization.concluded_by = queued.outbox_position.payment_id
    authorization.concluded_at = from_milliseconds(queued.outbox_position.accepted_at_ms)
    plan.concluded.append(authorization)


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
    accepted_at = from_milliseconds(queued.outbox_position.accepted_at_ms)
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


def authorization_of(queued: QueuedIntent) -> Authorization:
    """The authorization that an intent of this kind becomes."""
    intent = queued.intent
    accepted_at = from_milliseconds(queued.outbox_position.accepted_at_ms)
    return Authorization(
        payment_id=queued.outbox_position.payment_id,
        entity_id=intent.entity_id,
        external_id=intent.external_id,
        fingerprint=intent.fingerprint,
        guarded_account_id=intent.guarded_account_id,
        hold_minor=intent.hold_minor,
        currency_code=intent.currency_code,
        legs=intent.legs,
        state=AuthorizationState.AUTHORIZED,
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
    return from_milliseconds(queued.outbox_position.accepted_at_ms + 1000 * seconds)


def plan_posting(
    batch: Iterable[QueuedIntent],
    known: Mapping[tuple[str, str], KnownOutcome],
    rejected_before: Collection[str],
    balances: dict[str, LedgerBalance],
    heads: dict[int, ChainHead],
    posted_at: datetime,
    authorizations: dict[str, Authorization] | None = None,
    refused: Mapping[str, Refusal] | None = None,
) -> PostingPlan:
    """Decide each intent in order, an atomic batch as a whole; `rejected_before` and the keys of `refused` are
    payment ids.

    `refused` are intents that a constraint of the books turned out to reject. `holds` are the
    authorizations that the batch concludes. `balances`, `heads` and `holds` are advanced to the state after the batch.
    """
    plan = PostingPlan()
    outcomes = dict(known)
    authorizations = {} if authorizations is None else authorizations
    refused = dict(refused or {})
    for queued in _linked_refused_first(batch, outcomes, balances, refused):
        intent = queued.intent
        if rejected_before and queued.outbox_position.payment_id in rejected_before:
            plan.redelivered.append((queued, False))
            continue
        if intent.kind == Kind.JOURNAL_HOLD:
            _answer_journal_hold(plan, queued, outcomes)
            continue
        key = queued.key
        concludes = intent.kind in CONCLUSIONS
        outcome = outcomes.get(key)
        if outcome is not None and not concludes:
            _answer_known(plan, queued, outcome)
            continue
        if concludes and _is_redelivered(plan, queued, authorizations):
            continue
        refusal = refused.get(queued.outbox_position.payment_id) if refused else None
        refusal = refusal or _refuse(queued, balances, authorizations)
        if refusal is not None:
            plan.rejections.append(Rejection(queued, refusal))
            if concludes:
                release_rejected(plan, queued, balances, authorizations, posted_at)
            continue
        advance(plan, queued, balances, heads[queued.outbox_position.partition], authorizations, posted_at)
        if not concludes:
            outcomes[key] = KnownOutcome(queued.outbox_position.payment_id, intent.fingerprint, posted=True)
    return plan


def _linked_refused_first(
    batch: Iterable[QueuedIntent],
    outcomes: Mapping[tuple[str, str], KnownOutcome],
    balances: Mapping[str, LedgerBalance],
    refused: dict[str, Refusal],
) -> Iterator[QueuedIntent]:
    """The intents in order; when the turn comes to an atomic batch that must be refused, all of it is in `refused`."""
    for unit in units(batch):
        if len(unit) > 1:
            refused.update(_refuse_linked(unit, outcomes, balances, refused))
        yield from unit


def _refuse_linked(
    group: Sequence[QueuedIntent],
    outcomes: Mapping[tuple[str, str], KnownOutcome],
    balances: Mapping[str, LedgerBalance],
    refused: Mapping[str, Refusal],
) -> dict[str, Refusal]:
    """Try an atomic batch on copies of the balances; if one must be refused, the refusals of all, by payment id."""
    trial = {leg: replace(balances[leg]) for one in group for leg in one.account_ids if leg in balances}
    for queued in group:
        outcome = outcomes.get(queued.key)
        if outcome is not None and outcome.payment_id == queued.outbox_position.payment_id:
            return {}  # decided before, and with it all the others
        if outcome is not None and outcome.posted and outcome.fingerprint == queued.intent.fingerprint:
            continue
        refusal = refused.get(queued.outbox_position.payment_id)
        refusal = refusal or (_refuse(queued, trial, {}) if outcome is None else refuse_known(queued.intent, outcome))
        if refusal is not None:
            linked = refuse_linked(queued.outbox_position.payment_id, refusal)
            return {one.outbox_position.payment_id: refusal if one is queued else linked for one in group}
        if queued.intent.moves_money:
            for leg in queued.intent.legs:
                trial[leg.account_id].balance_minor += trial[leg.account_id].normal_sign * leg.amount_minor
    return {}


def refuse_linked(failed_payment_id: str, refusal: Refusal) -> Refusal:
    """The refusal of a payment because another of its atomic batch was refused by the books."""
    return Refusal(
        RefusalCode.LINKED_PAYMENT_FAILED,
        f"Payment {failed_payment_id} of the same atomic batch was rejected ({refusal.code.value}).",
        {"failed_payment_id": failed_payment_id, "failed_code": refusal.code.value},
    )


def _answer_journal_hold(
    plan: PostingPlan, queued: QueuedIntent, outcomes: Mapping[tuple[str, str], KnownOutcome]
) -> None:
    """A hold that was left behind: its journal is in the books, or will never be posted with this hold."""
    outcome = outcomes.get(journal_key(queued))
    if outcome is not None and outcome.posted and outcome.fingerprint == queued.intent.fingerprint:
        plan.redelivered.append((queued, True))
        return
    refusal = Refusal(
        RefusalCode.REJECTED_BY_LEDGER,
        "Its journal was given up before it was posted; the hold is released.",
        {"external_id": journal_key(queued)[1]},
    )
    plan.rejections.append(Rejection(queued, refusal))


def _answer_known(plan: PostingPlan, queued: QueuedIntent, outcome: KnownOutcome) -> None:
    if outcome.payment_id == queued.outbox_position.payment_id:
        plan.redelivered.append((queued, True))
        return
    if outcome.posted and outcome.fingerprint == queued.intent.fingerprint:
        plan.duplicates.append(Duplicate(queued, outcome.payment_id))
        return
    plan.rejections.append(Rejection(queued, refuse_known(queued.intent, outcome)))


def _is_redelivered(plan: PostingPlan, queued: QueuedIntent, authorizations: Mapping[str, Authorization]) -> bool:
    authorization = authorizations.get(queued.payment_id)
    if authorization is None or authorization.concluded_by != queued.outbox_position.payment_id:
        return False
    plan.redelivered.append((queued, True))
    return True


def refuse_known(intent: Intent, outcome: KnownOutcome) -> Refusal:
    """The refusal of an external id that the books know for something else, or have refused."""
    if intent.fingerprint != outcome.fingerprint:
        name = differing_field(intent.fingerprint, outcome.fingerprint)
        return Refusal(
            RefusalCode.EXTERNAL_ID_REUSED,
            f"external_id {intent.external_id!r} belongs to another payment: {name} differs.",
            {"field": name, "payment_id": outcome.payment_id},
        )
    return Refusal(
        RefusalCode.EXTERNAL_ID_REFUSED,
        f"external_id {intent.external_id!r} was refused before; send a new one to try again.",
        {"payment_id": outcome.payment_id},
    )


def _refuse(
    queued: QueuedIntent, balances: Mapping[str, LedgerBalance], authorizations: Mapping[str, Authorization]
) -> Refusal | None:
    intent = queued.intent
    if intent.kind in CONCLUSIONS:
        authorization = authorizations.get(queued.payment_id)
        if authorization is None:
            return authorization_not_found(queued.payment_id)
        if authorization.state is not AuthorizationState.AUTHORIZED:
            return refuse_concluded(queued.payment_id, authorization.state)
    return _refuse_legs(intent, balances) if intent.moves_money else None


def _refuse_legs(intent: Intent, balances: Mapping[str, LedgerBalance]) -> Refusal | None:
    for leg in intent.legs:
        row = balances.get(leg.account_id)
        if row is not None and takes(row, intent, leg.amount_minor):
            continue
        if row is not None and row.entity_id == intent.entity_id and row.currency_code != intent.currency_code:
            return Refusal(
                RefusalCode.CURRENCY_MISMATCH,
                f"Account {leg.account_id!r} is in {row.currency_code}.",
                {"account_id": leg.account_id, "account_currency_code": row.currency_code},
            )
        if refusal := refuse_leg(leg, row, intent.entity_id):
            return refusal
    return None


def takes(row: LedgerBalance, intent: Intent, amount_minor: int) -> bool:
    """Whether an account's row can take a leg of this amount; `refuse_leg` says why not."""
    change = row.normal_sign * amount_minor
    after = row.balance_minor + change
    return (
        row.entity_id == intent.entity_id
        and row.currency_code == intent.currency_code
        and (change >= 0 or row.floor_minor is None or after >= row.floor_minor)
        and in_range(after)
    )


def refuse_leg(leg: Leg, row: LedgerBalance | None, entity_id: str) -> Refusal | None:
    """Refuse a leg that the account's row in the books cannot take."""
    if row is None:
        return Refusal(
            RefusalCode.ACCOUNT_NOT_FOUND,
            f"The books have no account {leg.account_id!r}.",
            {"account_id": leg.account_id},
        )
    if row.entity_id != entity_id:
        return Refusal(
            RefusalCode.ENTITY_MISMATCH,
            f"Account {leg.account_id!r} belongs to entity {row.entity_id!r}.",
            {"account_id": leg.account_id, "entity_id": row.entity_id},
        )
    change = row.normal_sign * leg.amount_minor
    after = row.balance_minor + change
    if change < 0 and row.floor_minor is not None and after < row.floor_minor:
        return Refusal(
            RefusalCode.INSUFFICIENT_FUNDS,
            f"The books would take account {leg.account_id!r} below its floor.",
            {
                "account_id": leg.account_id,
                "balance_minor": row.balance_minor,
                "floor_minor": row.floor_minor,
                "amount_minor": abs(leg.amount_minor),
            },
        )
    if not in_range(after):
        return Refusal(
            RefusalCode.BALANCE_OUT_OF_RANGE,
            f"The balance of account {leg.account_id!r} would leave the range of ±(2^53 − 1).",
            {"account_id": leg.account_id, "balance_minor": row.balance_minor},
        )
    return None
