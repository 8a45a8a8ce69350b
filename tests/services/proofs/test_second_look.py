"""Incremental runs look again where open breaks were found: what is gone is closed, and what is there stays open."""

import pytest

from app.domain.breaks import BreakKind
from tests import hot_state
from tests.services.tampering import TAMPERING, Tamper, kinds
from tests.world import World


def still_open(world: World) -> set[str]:
    return {row[0] for row in world.rows("SELECT kind FROM reconciliation_break WHERE state = 'open'")}


def alices(change: str) -> str:
    return f"UPDATE account_balance SET {change} WHERE account_id = 'alice'"


def alices_entry(change: str) -> str:
    return f"UPDATE entry SET {change} WHERE account_id = 'alice' AND entry_number = 2"


GONE = {
    "a balance": (alices("balance_minor = balance_minor + 1"), alices("balance_minor = balance_minor - 1")),
    "an entry count": (alices("entry_count = entry_count + 1"), alices("entry_count = entry_count - 1")),
    "an entry's number": (
        alices_entry("entry_number = 99"),
        "UPDATE entry SET entry_number = 2 WHERE account_id = 'alice' AND entry_number = 99",
    ),
    "an entry's balance": (
        alices_entry("balance_minor = balance_minor + 1"),
        alices_entry("balance_minor = balance_minor - 1"),
    ),
    "an amount": (
        alices_entry("amount_minor = amount_minor + 1"),
        alices_entry("amount_minor = amount_minor - 1"),
    ),
}
ONLY_BY_FULL_RUNS = {"chain_hash", "chain_link", "chain_head", "chain_time"}
"""What a walk over a whole chain tells."""


@pytest.mark.parametrize(("change", "back"), GONE.values(), ids=GONE)
def test_a_difference_in_the_ledger_that_is_gone_is_closed_by_the_next_incremental_run(
    settled: World, change: str, back: str
) -> None:
    settled.tamper(change)
    assert kinds(settled.reconcile().breaks) - ONLY_BY_FULL_RUNS
    settled.tamper(back)
    report = settled.reconcile(full=False)
    assert (report.breaks, still_open(settled) - ONLY_BY_FULL_RUNS) == ([], set())
    assert settled.reconcile().open_breaks == 0


@pytest.mark.parametrize("full", [False, True])
def test_a_difference_in_the_cache_that_is_gone_is_closed_by_the_next_run(settled: World, full: bool) -> None:
    hot_state.add(settled.client, settled.account_key("alice"), balance=7, held=3)
    settled.client.hset(settled.account_key("alice"), "5-5", 3)
    assert len(settled.reconcile().breaks) == 2
    assert settled.reconcile(full=False).open_breaks == 2
    hot_state.add(settled.client, settled.account_key("alice"), balance=-7, held=-3)
    settled.client.hdel(settled.account_key("alice"), "5-5")
    report = settled.reconcile(full=full)
    assert (report.breaks, report.open_breaks) == ([], 0)
    assert settled.rows("SELECT DISTINCT state, reason_code FROM reconciliation_break") == [
        ("resolved", "no_longer_seen")
    ]


@pytest.mark.parametrize(("tamper", "kind"), [one[1:] for one in TAMPERING], ids=[one[0] for one in TAMPERING])
def test_an_incremental_run_closes_nothing_that_a_full_one_still_sees(
    settled: World, tamper: Tamper, kind: BreakKind
) -> None:
    tamper(settled)
    settled.reconcile()
    rows = "SELECT break_id, state FROM reconciliation_break WHERE kind <> 'balance_not_sum' ORDER BY break_id"
    found = settled.rows(rows)
    assert kind.value in still_open(settled)
    settled.reconcile(full=False)
    assert settled.rows(rows)[: len(found)] == found
    settled.reconcile()
    assert settled.rows(rows)[: len(found)] == found


def test_a_loss_of_the_cache_is_closed_by_nobody_but_people(settled: World) -> None:
    settled.lose_cache()
    settled.new_identity().check()
    assert still_open(settled) == {"cache_lost"}
    settled.reconcile(full=False)
    settled.reconcile()
    assert still_open(settled) == {"cache_lost"}
