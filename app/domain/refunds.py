"""Refunds: how much of a payment is taken back from each of its destinations, by refunds and by journals that name it.

A journal that names a payment gives back what it credits the payment's source, and lowers what is refundable by that;
its reversal raises it again. What has been taken back is known as a running sum for each destination, so a refund costs
the same however many came before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.domain.accounts import AccountFacts
from app.domain.hash_chain import LedgerTransaction
from app.domain.journal_refusals import journal_returns_nothing, refund_exceeds_payment
from app.domain.journals import Draft, Order, is_repeat, order_of, refuse_accounts
from app.domain.ledger_rows import PaymentReturn
from app.domain.payment import Kind, Leg
from app.domain.payment_checks import refuse_amount
from app.domain.read_models import PostedPayment
from app.domain.refusals import Refusal
from app.domain.splits import allocate


def refund_order(payment_id: str, external_id: str, amount_minor: int | None, reason: str | None, actor: str) -> Order:
    """The order of a refund; `amount_minor` None is all that remains, which only its draft knows."""
    content = (payment_id, "" if amount_minor is None else str(amount_minor), reason or "")
    return replace(order_of(Kind.REFUND, external_id, content, actor, reason, payment_id), gives_back=payment_id)


def is_refund_repeated(order: Order, posted: LedgerTransaction, *, asked_minor: int | None, left_nothing: bool) -> bool:
    """Whether the ledger's transaction under the order's external id is the refund that the order asks for.

    A refund of all that remains and one of the same sum spelt out mean the same. `left_nothing`: nothing of the payment
    remained after the posted one.
    """
    if is_repeat(order, posted):
        return True
    if posted.kind != Kind.REFUND or posted.relates_to != order.relates_to:
        return False
    amount_minor = -posted.entries[-1].amount_minor
    payment_id, reason = posted.relates_to or "", order.reason
    if asked_minor is None:
        return left_nothing and is_repeat(refund_order(payment_id, "", amount_minor, reason, ""), posted)
    # Earlier versions kept a refund of all that remained without its sum.
    return asked_minor == amount_minor and is_repeat(refund_order(payment_id, "", None, reason, ""), posted)


def draft_refund(
    order: Order,
    original: PostedPayment,
    returned: Mapping[str, int],
    amount_minor: int | None,
    facts: Mapping[str, AccountFacts],
) -> Draft | Refusal:
    """Take back a payment, all that remains or a part, from its destinations in proportion to what remains of each.

    `returned` is what each destination has given back so far, in minor units.
    """
    source, *destinations = original.legs
    remaining = remaining_of(original, returned)
    left = sum(remaining)
    amount = left if amount_minor is None else amount_minor
    if amount_minor is not None and (refusal := refuse_amount(amount_minor)):
        return refusal
    if amount > left or not left:
        return refund_exceeds_payment(original.payment_id, amount_minor, source.amount_minor, left)
    parts = [
        (one.account_id, part) for one, part in zip(destinations, allocate(amount, remaining), strict=True) if part
    ]
    legs = [*(Leg(account_id, part) for account_id, part in parts), Leg(source.account_id, -amount)]
    returns = [
        PaymentReturn(original.payment_id, account_id, part, returned.get(account_id, 0) + part)
        for account_id, part in parts
    ]
    spelt_out = refund_order(original.payment_id, order.external_id, amount, order.reason, order.actor)
    return refuse_accounts(legs, facts) or Draft(
        spelt_out, original.entity_id, legs, not_before=original.effective_at, returns=returns
    )


def remaining_of(original: PostedPayment, returned: Mapping[str, int]) -> list[int]:
    """What remains to be taken back from each destination of a payment, in minor units, in its order."""
    return [-leg.amount_minor - returned.get(leg.account_id, 0) for leg in original.legs[1:]]


def returns_by_journal(
    original: PostedPayment, returned: Mapping[str, int], legs: Sequence[Leg]
) -> list[PaymentReturn] | Refusal:
    """What a journal gives back of a payment: what it credits the payment's source with.

    What it debits the payment's destinations counts for them; what comes from elsewhere is spread over what remains of
    each.
    """
    source = original.legs[0]
    changes = {leg.account_id: leg.amount_minor for leg in legs}
    given = -changes.get(source.account_id, 0)
    if given <= 0:
        return journal_returns_nothing(original.payment_id, source.account_id)
    remaining = remaining_of(original, returned)
    if given > sum(remaining):
        return refund_exceeds_payment(original.payment_id, given, source.amount_minor, sum(remaining))
    account_ids = original.destination_ids
    parts = [min(max(changes.get(one, 0), 0), left) for one, left in zip(account_ids, remaining, strict=True)]
    if sum(parts) > given:
        parts = allocate(given, parts)
    elif sum(parts) < given:
        rest = allocate(given - sum(parts), [left - part for left, part in zip(remaining, parts, strict=True)])
        parts = [part + more for part, more in zip(parts, rest, strict=True)]
    return [
        PaymentReturn(original.payment_id, account_id, part, returned.get(account_id, 0) + part)
        for account_id, part in zip(account_ids, parts, strict=True)
        if part
    ]


def undone(returns: Sequence[PaymentReturn], returned: Mapping[str, int]) -> list[PaymentReturn]:
    """The opposite of what a journal gave back; `returned` is what each destination has given back so far."""
    return [
        PaymentReturn(one.payment_id, one.account_id, -one.amount_minor, returned[one.account_id] - one.amount_minor)
        for one in returns
    ]
