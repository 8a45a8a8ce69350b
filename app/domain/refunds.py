"""Refunds: what may still be taken back of a payment, and from whom."""

from collections.abc import Iterable, Mapping

from app.domain.accounts import AccountFacts
from app.domain.books import PostedPayment
from app.domain.entries import LedgerTransaction
from app.domain.journals import Draft, Order, refuse_accounts
from app.domain.payments import Leg
from app.domain.preparing import refuse_amount
from app.domain.refusals import Refusal, RefusalCode
from app.domain.splits import allocate


def draft_refund(
    order: Order,
    original: PostedPayment,
    earlier: Iterable[LedgerTransaction],
    amount_minor: int | None,
    facts: Mapping[str, AccountFacts],
) -> Draft | Refusal:
    """Take back a payment, all that remains or a part, from its destinations in proportion of what remains of each."""
    source, *destinations = original.legs
    remaining = remaining_of(original, earlier)
    left = sum(remaining)
    amount = left if amount_minor is None else amount_minor
    if amount_minor is not None and (refusal := refuse_amount(amount_minor)):
        return refusal
    if amount > left or not left:
        return Refusal(
            RefusalCode.REFUND_EXCEEDS_PAYMENT,
            f"{left} of {source.amount_minor} remain to be refunded"
            + ("." if amount_minor is None else f", not {amount_minor}."),
            {
                "payment_id": original.payment_id,
                "amount_minor": amount_minor,
                "posted_minor": source.amount_minor,
                "refunded_minor": source.amount_minor - left,
                "remaining_minor": left,
            },
        )
    parts = zip(destinations, allocate(amount, remaining), strict=True)
    legs = [*(Leg(one.account_id, part) for one, part in parts if part), Leg(source.account_id, -amount)]
    return refuse_accounts(legs, facts) or Draft(order, original.entity_id, legs)


def remaining_of(original: PostedPayment, refunds: Iterable[LedgerTransaction]) -> list[int]:
    """What remains to be taken back from each destination of a payment, in minor units, in its order."""
    refunded: dict[str, int] = {}
    for refund in refunds:
        for entry in refund.entries:
            refunded[entry.account_id] = refunded.get(entry.account_id, 0) + entry.amount_minor
    return [-leg.amount_minor - refunded.get(leg.account_id, 0) for leg in original.legs[1:]]
