"""Planning on remembered rows gives the same plan as planning on locked ones, or none."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.hash_chain import chain_hash, transactions_from
from app.domain.ledger_rows import REMEMBERED_ACCOUNTS, LedgerBalance, PostingPlan, QueuedIntent, RememberedRows
from app.domain.payment import Kind
from app.domain.posting_plan import is_ordinary, plan_optimistically, plan_posting
from tests.builders import NOON, heads, intent, queued, rows, wallet

ACCOUNTS = ("alice", "bob", "carol")


def remembering(balances: dict[str, LedgerBalance]) -> RememberedRows:
    memory = RememberedRows()
    memory.learn(balances, heads(0, 1))
    return memory


def planned(batch: list[QueuedIntent], memory: RememberedRows) -> PostingPlan:
    plan = plan_optimistically(batch, memory, NOON)
    assert plan is not None
    return plan


movements = st.lists(
    st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(ACCOUNTS), st.integers(1, 60), st.integers(0, 1)).filter(
        lambda movement: movement[0] != movement[1]
    ),
    max_size=20,
)


@given(movements, st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 100)))
def test_the_optimistic_plan_writes_what_the_locked_plan_writes_if_that_refuses_nothing(
    wanted: list[tuple[str, str, int, int]], cache: dict[str, int]
) -> None:
    batch = [
        queued(n, intent(source, destination, amount, external_id=f"x{n}", description='"ü\n'), partition=partition)
        for n, (source, destination, amount, partition) in enumerate(wanted)
    ]
    balances = rows(*(wallet(name, cache.get(name, 0)) for name in ACCOUNTS))
    chain = heads(0, 1)
    optimistic = plan_optimistically(batch, remembering({k: replace(row) for k, row in balances.items()}), NOON)
    locked = plan_posting(batch, {}, (), balances, chain, NOON)
    if locked.rejections:
        assert optimistic is None
        return
    assert optimistic is not None
    assert (optimistic.transactions, optimistic.entries) == (locked.transactions, locked.entries)
    assert optimistic.balances == {name: row for name, row in balances.items() if row.entry_count}
    assert optimistic.heads == {p: head for p, head in chain.items() if head.chain_seq}
    for transaction in transactions_from(optimistic.transactions, optimistic.entries):
        assert chain_hash(transaction) == transaction.hash


def test_remembered_rows_stay_unchanged_until_the_plan_is_applied() -> None:
    memory = remembering(rows(wallet("alice", 100), wallet("bob")))
    plan = planned([queued(1, intent(amount_minor=30))], memory)
    assert (memory.balances["alice"].balance_minor, memory.heads[0].chain_seq) == (100, 0)
    memory.apply(plan)
    assert (memory.balances["alice"].balance_minor, memory.heads[0].chain_seq) == (70, 1)
    assert plan.balances_before[0].balance_minor == 100


def test_nothing_is_stamped_before_what_any_remembered_row_has_seen() -> None:
    later = NOON + timedelta(hours=1)
    memory = remembering(rows(wallet("alice", 100, updated_at=later), wallet("bob")))
    assert planned([queued(1, intent(amount_minor=30))], memory).posted_at == later


@pytest.mark.parametrize("missing", ["account", "chain"])
def test_there_is_no_plan_if_a_row_is_not_remembered(missing: str) -> None:
    memory = remembering(
        rows(wallet("alice", 100)) if missing == "account" else rows(wallet("alice", 100), wallet("bob"))
    )
    one = queued(1, intent(), partition=0 if missing == "account" else 7)
    assert plan_optimistically([one], memory, NOON) is None


@pytest.mark.parametrize(
    ("what", "ordinary"),
    [
        ({}, True),
        ({"description": "lunch", "metadata": {"a": 1}}, True),
        ({"linked": "group"}, False),
        *(({"kind": kind}, False) for kind in Kind if kind is not Kind.PAYMENT),
    ],
)
def test_only_plain_payments_that_are_not_linked_are_ordinary(what: dict[str, Any], ordinary: bool) -> None:
    assert is_ordinary([queued(1), queued(2, intent(**what))]) is ordinary


def test_remembered_rows_that_have_become_too_many_are_dropped() -> None:
    memory = remembering(rows(wallet("alice", 100)))
    memory.forget_if_large()
    assert memory.balances
    memory.balances.update((str(n), wallet(str(n))) for n in range(REMEMBERED_ACCOUNTS))
    memory.forget_if_large()
    assert not memory.balances
    assert not memory.heads
