"""The posting plan: what a batch does to the ledger, computed without one."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.hash_chain import GENESIS_HASH, LedgerTransaction, transactions_from
from app.domain.ledger_rows import KnownOutcome, LedgerBalance, PostingPlan, QueuedIntent
from app.domain.money import MAX_MINOR
from app.domain.posting_plan import plan_posting
from app.domain.refusals import Refusal, RefusalCode
from tests.builders import NOON, heads, intent, ledger_row, queued, rows, wallet


def plan(
    batch: list[QueuedIntent],
    balances: dict[str, LedgerBalance],
    known: dict[tuple[str, str], KnownOutcome] | None = None,
    rejected_before: Any = (),
    refused: dict[str, Refusal] | None = None,
    chain: Any = None,
) -> PostingPlan:
    return plan_posting(batch, known or {}, rejected_before, balances, chain or heads(0, 1), NOON, refused=refused)


def transactions(made: PostingPlan) -> list[LedgerTransaction]:
    return transactions_from(made.transactions, made.entries)


def posted(made: PostingPlan) -> list[str]:
    return [transaction.external_id for transaction in transactions(made)]


def added(made: PostingPlan) -> dict[str, tuple[int, int, int]]:
    """What a plan adds to each account: to its balance, to its entries, to its version."""
    return {
        after.account_id: (
            after.balance_minor - before.balance_minor,
            after.entry_count - before.entry_count,
            after.version - before.version,
        )
        for before, after in zip(made.balances_before, made.balances.values(), strict=True)
    }


def codes(made: PostingPlan) -> list[str]:
    return [rejection.refusal.code.value for rejection in made.rejections]


def test_a_batch_is_posted_in_order_with_running_balances() -> None:
    balances = rows(wallet("alice", 100, entry_count=7), wallet("bob", 5))
    made = plan(
        [queued(1, intent(amount_minor=60, external_id="a")), queued(2, intent(amount_minor=40, external_id="b"))],
        balances,
    )

    assert posted(made) == ["a", "b"]
    lines = [
        (e.account_id, e.entry_number, e.amount_minor, e.balance_minor) for t in transactions(made) for e in t.entries
    ]
    assert lines == [("alice", 8, 60, 40), ("bob", 1, -60, 65), ("alice", 9, 40, 0), ("bob", 2, -40, 105)]
    assert added(made) == {"alice": (-100, 2, 2), "bob": (100, 2, 2)}
    assert (balances["alice"].balance_minor, balances["alice"].entry_count, balances["alice"].version) == (0, 9, 9)


def test_each_transaction_is_chained_to_the_one_before_in_its_partition() -> None:
    chain = heads(0, 1)
    batch = [queued(n, intent(amount_minor=1, external_id=f"e{n}"), partition=n % 2) for n in range(4)]
    made = plan(batch, rows(wallet("alice", 10), wallet("bob")), chain=chain)

    for partition in (0, 1):
        first, second = (t for t in transactions(made) if t.partition == partition)
        assert (first.chain_seq, second.chain_seq) == (1, 2)
        assert (first.previous_hash, second.previous_hash) == (GENESIS_HASH, first.hash)
        assert (chain[partition].chain_seq, chain[partition].chain_hash) == (2, second.hash)
        assert chain[partition].last_position == batch[partition + 2].outbox_position.stream_id


def test_a_culprit_is_rejected_and_the_rest_posts() -> None:
    batch = [
        queued(1, intent(amount_minor=60, external_id="a")),
        queued(2, intent(amount_minor=60, external_id="too much")),
        queued(3, intent(amount_minor=40, external_id="c")),
    ]
    made = plan(batch, rows(wallet("alice", 100), wallet("bob")))
    assert (posted(made), codes(made)) == (["a", "c"], ["insufficient_funds"])
    assert made.rejections[0].queued.intent.external_id == "too much"


def test_money_that_arrives_in_a_batch_may_be_spent_later_in_it() -> None:
    batch = [queued(1, intent(external_id="a")), queued(2, intent("bob", "carol", 100, external_id="b"))]
    made = plan(batch, rows(wallet("alice", 100), wallet("bob"), wallet("carol")))
    assert posted(made) == ["a", "b"]


REJECTIONS: dict[str, tuple[dict[str, LedgerBalance], str]] = {
    "source unknown": (rows(wallet("bob")), "account_not_found"),
    "destination unknown": (rows(wallet("alice", 100)), "account_not_found"),
    "another entity": (rows(wallet("alice", 100), wallet("bob", entity_id="other")), "entity_mismatch"),
    "another currency": (rows(wallet("alice", 100), wallet("bob", currency_code="USD")), "currency_mismatch"),
    "one short": (rows(wallet("alice", 99), wallet("bob")), "insufficient_funds"),
    "one short of the overdraft": (rows(wallet("alice", 49, floor_minor=-50), wallet("bob")), "insufficient_funds"),
    "below the range": (rows(ledger_row("alice", -MAX_MINOR + 99), wallet("bob")), "balance_out_of_range"),
    "above the range": (rows(wallet("alice", 100), wallet("bob", MAX_MINOR - 99)), "balance_out_of_range"),
    "floor of a falling asset": (
        rows(wallet("alice", 100), ledger_row("bob", 99, normal_sign=1, floor_minor=0)),
        "insufficient_funds",
    ),
}


@pytest.mark.parametrize(("balances", "code"), REJECTIONS.values(), ids=REJECTIONS)
def test_a_payment_that_the_ledger_may_not_post_is_rejected(balances: dict[str, LedgerBalance], code: str) -> None:
    before = {account_id: replace(row) for account_id, row in balances.items()}
    made = plan([queued(1, intent(amount_minor=100))], balances)
    assert (made.transactions, codes(made), made.balances) == ([], [code], {})
    assert balances == before


EDGES: dict[str, dict[str, LedgerBalance]] = {
    "to the floor exactly": rows(wallet("alice", 100), wallet("bob")),
    "to the overdraft exactly": rows(wallet("alice", 50, floor_minor=-50), wallet("bob")),
    "to the bottom of the range": rows(ledger_row("alice", -MAX_MINOR + 100), wallet("bob")),
    "to the top of the range": rows(wallet("alice", 100), wallet("bob", MAX_MINOR - 100)),
    "rising while below the floor": rows(wallet("alice", 100), wallet("bob", -500)),
}


@pytest.mark.parametrize("balances", EDGES.values(), ids=EDGES)
def test_the_edge_itself_is_allowed(balances: dict[str, LedgerBalance]) -> None:
    made = plan([queued(1, intent(amount_minor=100))], balances)
    assert len(made.transactions) == 1


def test_a_redelivered_payment_is_only_settled_again() -> None:
    one = queued(1, intent())
    known = {one.key: KnownOutcome(one.outbox_position.payment_id, one.intent.fingerprint, posted=True)}
    made = plan([one], rows(wallet("alice", 100), wallet("bob")), known)
    assert (made.redelivered, made.transactions, made.balances) == ([(one, True)], [], {})


def test_a_redelivered_rejection_stays_rejected() -> None:
    one = queued(1, intent())
    made = plan([one], rows(wallet("alice", 100), wallet("bob")), rejected_before={one.outbox_position.payment_id})
    assert (made.redelivered, made.transactions, made.rejections) == ([(one, False)], [], [])


def test_a_late_repeat_is_a_duplicate_of_the_original() -> None:
    late = queued(9, intent())
    known = {late.key: KnownOutcome("pay_0_1_1", late.intent.fingerprint, posted=True)}
    made = plan([late], rows(wallet("alice", 100), wallet("bob")), known)
    assert [(d.queued, d.original_payment_id) for d in made.duplicates] == [(late, "pay_0_1_1")]
    assert made.transactions == []


@pytest.mark.parametrize(
    ("known_amount", "was_posted", "code", "figures"),
    [
        (99, True, "external_id_reused", {"field": "amount_minor", "payment_id": "pay_0_1_1"}),
        (99, False, "external_id_reused", {"field": "amount_minor", "payment_id": "pay_0_1_1"}),
        (100, False, "external_id_refused", {"payment_id": "pay_0_1_1"}),
    ],
)
def test_an_external_id_that_the_ledger_knows_for_something_else_is_rejected(
    known_amount: int, was_posted: bool, code: str, figures: dict[str, str]
) -> None:
    late = queued(9, intent(amount_minor=100))
    theirs = intent(amount_minor=known_amount).fingerprint
    known = {late.key: KnownOutcome("pay_0_1_1", theirs, posted=was_posted)}
    made = plan([late], rows(wallet("alice", 100), wallet("bob")), known)
    assert codes(made) == [code]
    assert made.rejections[0].refusal.figures == figures


def test_an_external_id_posts_once_within_a_batch() -> None:
    first = queued(1, intent(amount_minor=10, external_id="x"))
    same = queued(2, intent(amount_minor=10, external_id="x"), partition=1)
    other = queued(3, intent(amount_minor=11, external_id="x"), partition=1)
    made = plan([first, same, other], rows(wallet("alice", 100), wallet("bob")))
    assert posted(made) == ["x"]
    assert [d.original_payment_id for d in made.duplicates] == [first.outbox_position.payment_id]
    assert codes(made) == ["external_id_reused"]


def test_the_same_external_id_of_another_entity_is_another_payment() -> None:
    ours, theirs = intent(external_id="x"), intent("carol", "dave", external_id="x", entity_id="other")
    balances = rows(
        wallet("alice", 100), wallet("bob"), wallet("carol", 100, entity_id="other"), wallet("dave", entity_id="other")
    )
    assert len(plan([queued(1, ours), queued(2, theirs)], balances).transactions) == 2


def test_a_payment_that_a_constraint_rejected_is_rejected_with_that_reason() -> None:
    one, other = queued(1, intent(external_id="a")), queued(2, intent(external_id="b"))
    reason = Refusal(RefusalCode.REJECTED_BY_LEDGER, "constraint", {"constraint": "some_check"})
    made = plan(
        [one, other], rows(wallet("alice", 200), wallet("bob")), refused={one.outbox_position.payment_id: reason}
    )
    assert [r.refusal for r in made.rejections] == [reason]
    assert posted(made) == ["b"]


def test_the_effective_time_is_by_default_the_time_of_acceptance() -> None:
    effective_at = NOON - timedelta(days=3)
    batch = [
        queued(1, intent(amount_minor=1, external_id="a")),
        queued(2, intent(amount_minor=1, external_id="b", effective_at=effective_at)),
    ]
    first, second = transactions(plan(batch, rows(wallet("alice", 100), wallet("bob"))))
    assert (first.accepted_at, first.effective_at) == (NOON, NOON)
    assert (second.accepted_at, second.effective_at) == (NOON, effective_at)


ACCOUNTS = ("alice", "bob", "carol")
movements = st.lists(
    st.tuples(
        st.sampled_from(ACCOUNTS), st.sampled_from(ACCOUNTS), st.integers(1, 60), st.integers(0, 8), st.integers(0, 1)
    ).filter(lambda movement: movement[0] != movement[1]),
    max_size=25,
)


@given(movements, st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 100)))
def test_any_batch_conserves_money_respects_floors_and_posts_nothing_twice(
    wanted: list[tuple[str, str, int, int, int]], cache: dict[str, int]
) -> None:
    balances = rows(*(wallet(name, cache.get(name, 0)) for name in ACCOUNTS))
    total = sum(row.balance_minor for row in balances.values())
    batch = [
        queued(n, intent(source, destination, amount, external_id=f"x{number}"), partition=partition)
        for n, (source, destination, amount, number, partition) in enumerate(wanted)
    ]
    before = {name: row.balance_minor for name, row in balances.items()}
    made = plan(batch, balances)

    assert sum(row.balance_minor for row in balances.values()) == total
    assert all(row.balance_minor >= 0 for row in balances.values())
    assert len(set(posted(made))) == len(posted(made))
    assert len(made.transactions) + len(made.rejections) + len(made.duplicates) == len(batch)
    for transaction in transactions(made):
        assert sum(e.amount_minor for e in transaction.entries) == 0
    for name, row in balances.items():
        change_minor, entries, _ = added(made).get(name, (0, 0, 0))
        assert (before[name] + change_minor, entries) == (row.balance_minor, row.entry_count)
