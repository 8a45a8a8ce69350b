"""What a batch of intents does to the books: a pure decision over the rows that the posting transaction has locked.

Nothing here writes. The database adds the deltas itself and returns the resulting balances; the posting compares
them with this plan and aborts on any difference.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.advancing import advance, release_rejected
from app.domain.fingerprints import differing_field
from app.domain.holds import Hold, HoldState, hold_not_found, refuse_concluded
from app.domain.money import in_range
from app.domain.payments import CONCLUSIONS, Intent, Kind, Leg
from app.domain.posting import (
    ChainHead,
    Duplicate,
    KnownOutcome,
    LedgerBalance,
    PostingPlan,
    QueuedIntent,
    Rejection,
    journal_key,
    units,
)
from app.domain.refusals import Refusal, RefusalCode


def plan_posting(
    batch: Iterable[QueuedIntent],
    known: Mapping[tuple[str, str], KnownOutcome],
    rejected_before: Collection[str],
    balances: dict[str, LedgerBalance],
    heads: dict[int, ChainHead],
    posted_at: datetime,
    holds: dict[str, Hold] | None = None,
    refused: Mapping[str, Refusal] | None = None,
) -> PostingPlan:
    """Decide each intent in order, an atomic batch as a whole; `rejected_before` and the keys of `refused` are
    payment ids.

    `refused` are intents that a constraint of the books turned out to reject. `holds` are the
    authorizations that the batch concludes. `balances`, `heads` and `holds` are advanced to the state after the batch.
    """
    plan = PostingPlan()
    outcomes = dict(known)
    holds = {} if holds is None else holds
    refused = dict(refused or {})
    for queued in _linked_refused_first(batch, outcomes, balances, refused):
        intent = queued.intent
        if rejected_before and queued.place.payment_id in rejected_before:
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
        if concludes and _is_redelivered(plan, queued, holds):
            continue
        refusal = refused.get(queued.place.payment_id) if refused else None
        refusal = refusal or _refuse(queued, balances, holds)
        if refusal is not None:
            plan.rejections.append(Rejection(queued, refusal))
            if concludes:
                release_rejected(plan, queued, balances, holds, posted_at)
            continue
        advance(plan, queued, balances, heads[queued.place.partition], holds, posted_at)
        if not concludes:
            outcomes[key] = KnownOutcome(queued.place.payment_id, intent.fingerprint, posted=True)
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
        if outcome is not None and outcome.payment_id == queued.place.payment_id:
            return {}  # decided before, and with it all the others
        if outcome is not None and outcome.posted and outcome.fingerprint == queued.intent.fingerprint:
            continue
        refusal = refused.get(queued.place.payment_id)
        refusal = refusal or (_refuse(queued, trial, {}) if outcome is None else refuse_known(queued.intent, outcome))
        if refusal is not None:
            linked = refuse_linked(queued.place.payment_id, refusal)
            return {one.place.payment_id: refusal if one is queued else linked for one in group}
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
    if outcome.payment_id == queued.place.payment_id:
        plan.redelivered.append((queued, True))
        return
    if outcome.posted and outcome.fingerprint == queued.intent.fingerprint:
        plan.duplicates.append(Duplicate(queued, outcome.payment_id))
        return
    plan.rejections.append(Rejection(queued, refuse_known(queued.intent, outcome)))


def _is_redelivered(plan: PostingPlan, queued: QueuedIntent, holds: Mapping[str, Hold]) -> bool:
    hold = holds.get(queued.payment_id)
    if hold is None or hold.concluded_by != queued.place.payment_id:
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


def _refuse(queued: QueuedIntent, balances: Mapping[str, LedgerBalance], holds: Mapping[str, Hold]) -> Refusal | None:
    intent = queued.intent
    if intent.kind in CONCLUSIONS:
        hold = holds.get(queued.payment_id)
        if hold is None:
            return hold_not_found(queued.payment_id)
        if hold.state is not HoldState.AUTHORIZED:
            return refuse_concluded(queued.payment_id, hold.state)
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
