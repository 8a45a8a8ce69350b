"""The arithmetic of refunds and journals, without a server."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.domain.accounts import AccountFacts
from app.domain.hash_chain import transactions_from
from app.domain.journals import Draft, hold_intents, plan_journal
from app.domain.ledger_rows import PostingPlan
from app.domain.payment import Kind
from app.domain.read_models import PostedLeg, PostedPayment
from app.domain.refunds import draft_refund, refund_order, remaining_of
from app.domain.refusals import Refusal
from tests.builders import NOON, facts, heads, ledger_row, rows


def posted_payment(parts: list[int]) -> PostedPayment:
    legs = [PostedLeg("alice", 1, sum(parts), 0)]
    legs += [PostedLeg(f"shop-{n}", 1, -part, part) for n, part in enumerate(parts)]
    return PostedPayment(
        "pay_1_1_0", "order", "default", "payment", "", 1, 1, "EUR", None, None, NOON, NOON, NOON, legs
    )


def known(payment: PostedPayment) -> dict[str, AccountFacts]:
    return {leg.account_id: facts(leg.account_id) for leg in payment.legs}


PARTS = st.lists(st.integers(1, 10**12), min_size=1, max_size=6)


@given(PARTS, st.lists(st.floats(0.0, 1.0), max_size=6))
def test_refunds_are_exact_and_never_more_than_remains_of_any_destination(
    parts: list[int], shares: list[float]
) -> None:
    payment, earlier = posted_payment(parts), dict[str, int]()
    for share in shares:
        left = remaining_of(payment, earlier)
        amount = int(sum(left) * share)
        if not amount:
            continue
        draft = draft_refund(refund_order("p", "r", amount, None, ""), payment, earlier, amount, known(payment))
        assert isinstance(draft, Draft)
        assert sum(leg.amount_minor for leg in draft.legs) == 0
        assert draft.legs[-1].amount_minor == -amount
        taken = {leg.account_id: leg.amount_minor for leg in draft.legs[:-1]}
        assert all(part > 0 for part in taken.values())
        assert [(one.account_id, one.amount_minor) for one in draft.returns] == list(taken.items())
        earlier |= {one.account_id: one.returned_minor for one in draft.returns}
        after = remaining_of(payment, earlier)
        for n, (before, rest) in enumerate(zip(left, after, strict=True)):
            assert 0 <= rest == before - taken.get(f"shop-{n}", 0)
            assert abs(taken.get(f"shop-{n}", 0) * sum(left) - amount * before) < sum(left), "off by a whole unit"
    rest = draft_refund(refund_order("p", "r", None, None, ""), payment, earlier, None, known(payment))
    left = remaining_of(payment, earlier)
    assert isinstance(rest, Draft) if sum(left) else isinstance(rest, Refusal)


@given(PARTS, st.integers(1, 10**6))
def test_a_refund_of_more_than_remains_is_refused_with_the_figures(parts: list[int], beyond: int) -> None:
    payment, amount = posted_payment(parts), sum(parts) + beyond
    refusal = draft_refund(refund_order("p", "r", amount, None, ""), payment, {}, amount, known(payment))
    assert isinstance(refusal, Refusal)
    assert refusal.figures["remaining_minor"] == sum(parts)


def test_every_guarded_leg_is_held_and_the_first_hold_knows_all_legs() -> None:
    payment = posted_payment([10, 20])
    draft = draft_refund(refund_order("p", "r", None, None, ""), payment, {}, None, known(payment))
    assert isinstance(draft, Draft)
    first, second = hold_intents(draft, known(payment), "attempt")
    assert [(one.guarded_account_id, one.hold_minor) for one in (first, second)] == [("shop-0", 10), ("shop-1", 20)]
    assert first.legs == draft.legs
    assert {first.kind, second.kind} == {Kind.JOURNAL_HOLD}
    assert not any(one.external_id.isprintable() for one in (first, second)), "no caller can send it"


def test_without_a_guarded_leg_an_intent_stands_for_the_journal_all_the_same() -> None:
    payment = posted_payment([10])
    free = {account_id: replace(one, has_floor=False) for account_id, one in known(payment).items()}
    draft = draft_refund(refund_order("p", "r", None, None, ""), payment, {}, None, free)
    assert isinstance(draft, Draft)
    [only] = hold_intents(draft, free, "attempt")
    assert (only.hold_minor, only.legs) == (0, draft.legs)


def test_the_ledger_refuses_a_leg_below_its_floor() -> None:
    payment = posted_payment([10])
    draft = draft_refund(refund_order("p", "r", None, None, ""), payment, {}, None, known(payment))
    assert isinstance(draft, Draft)
    poor = rows(ledger_row("shop-0", 9, floor_minor=0), ledger_row("alice", 0))
    assert isinstance(plan_journal(draft, poor, heads(4)[4], NOON), Refusal)
    fine = rows(ledger_row("shop-0", 10, floor_minor=0), ledger_row("alice", 0))
    plan = plan_journal(draft, fine, heads(4)[4], NOON)
    assert isinstance(plan, PostingPlan)
    [transaction] = transactions_from(plan.transactions, plan.entries)
    assert transaction.payment_id == "ref_1"
    assert (fine["shop-0"].balance_minor, fine["alice"].balance_minor) == (0, 10)
