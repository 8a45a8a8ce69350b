"""Reconciling: no false break under load, and every true one found, kept once, and resolved when gone."""

from collections.abc import Callable
from typing import Any

import pytest

from app.cache import keys
from app.domain.breaks import BreakKind
from app.services.proofs.chain_verification import ChainVerifier
from app.services.proofs.reconciliation import Reconciler
from tests import hot_state
from tests.builders import PARTITIONS, World, account_in, kinds
from tests.services.faults import Overridden
from tests.services.load import under_load
from tests.services.tampering import TAMPERING, Tamper, authorize, lose_authorized_hold, void


@pytest.mark.parametrize(("tamper", "kind"), [t[1:] for t in TAMPERING], ids=[t[0] for t in TAMPERING])
def test_every_difference_is_found_and_kept_once(settled: World, tamper: Tamper, kind: BreakKind) -> None:
    tamper(settled)
    first = settled.reconcile()
    assert kind.value in kinds(first.breaks)
    kept = settled.rows("SELECT kind, subject FROM reconciliation_break ORDER BY 1, 2")
    assert sorted(kept) == sorted({(found.kind.value, found.subject) for found in first.breaks})
    assert first.open_breaks == len(kept)

    second = settled.reconcile()
    assert kinds(second.breaks) == kinds(first.breaks)
    assert settled.rows("SELECT kind, subject FROM reconciliation_break ORDER BY 1, 2") == kept
    assert settled.rows("SELECT DISTINCT last_run_id - first_run_id FROM reconciliation_break") == [(1,)]


def test_the_table_above_provokes_every_kind_of_break() -> None:
    of_the_watch = {BreakKind.CACHE_LOST}  # found by the watch over the cache's identity, which has tests of its own
    assert {kind for _, _, kind in TAMPERING} == set(BreakKind) - of_the_watch


def test_a_break_names_both_sides(settled: World) -> None:
    hot_state.add(settled.client, settled.account_key("alice"), balance=7)
    [found] = settled.reconcile().breaks
    assert (found.kind, found.subject) == (BreakKind.CACHE_BALANCE, "alice")
    assert found.figures == {"cache_balance_minor": 947, "ledger_balance_minor": 940, "at_entry_number": 4}


def test_a_break_that_is_gone_is_resolved_by_the_next_full_run_and_its_history_kept(settled: World) -> None:
    hot_state.add(settled.client, settled.account_key("alice"), balance=7)
    first = settled.reconcile()
    hot_state.add(settled.client, settled.account_key("alice"), balance=-7)

    assert settled.reconcile(full=False).open_breaks == 1  # it has not looked everywhere
    last = settled.reconcile()

    assert (last.breaks, last.open_breaks) == ([], 0)
    assert settled.rows("SELECT state, reason_code FROM reconciliation_break") == [("resolved", "no_longer_seen")]
    assert settled.rows("SELECT actor, state, note FROM reconciliation_break_event ORDER BY event_id") == [
        ("reconciler", "open", f"found by run {first.run_id}"),
        ("reconciler", "resolved", f"not seen by full run {last.run_id}"),
    ]


def test_a_break_that_comes_back_is_a_new_one(settled: World) -> None:
    for difference in (7, -7, 7):
        hot_state.add(settled.client, settled.account_key("alice"), balance=difference)
        settled.reconcile()
    assert settled.rows("SELECT state FROM reconciliation_break ORDER BY break_id") == [("resolved",), ("open",)]


def test_runs_are_kept_with_what_they_looked_at(settled: World) -> None:
    report = settled.reconcile()
    [(mode, finished, checked, breaks)] = settled.rows(
        "SELECT mode, finished_at IS NOT NULL, checked, break_count FROM reconciliation_run WHERE run_id = %s",
        report.run_id,
    )
    assert (mode, finished, breaks) == ("full", True, 0)
    assert checked == report.checked
    assert checked["intents"] == 1
    assert checked["transactions"] == 5


def test_an_incremental_run_costs_as_much_as_what_is_new_and_sees_it(settled: World) -> None:
    assert settled.reconcile(full=False).checked.get("transactions", 0) == 0
    settled.drain()
    settled.tamper("UPDATE entry SET balance_minor = balance_minor + 1 WHERE account_id = 'alice' AND entry_number = 5")
    report = settled.reconcile(full=False)
    assert report.checked["transactions"] == 1
    assert {"entry_running_balance", "chain_hash", "cache_balance"} <= kinds(report.breaks)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (
            "entry SET balance_minor = balance_minor + 1 WHERE account_id = 'alice' AND entry_number = 6",
            "running_balance",
        ),
        (
            "entry SET balance_minor = balance_minor + 1 WHERE account_id = 'bob' AND entry_number = 5",
            "running_balance",
        ),
        ("entry SET entry_number = 99 WHERE account_id = 'alice' AND entry_number = 6", "gap"),
        ("entry SET entry_number = 99 WHERE account_id = 'bob' AND entry_number = 7", "gap"),
        ("account_balance SET normal_sign = -normal_sign WHERE account_id = 'bob'", "running_balance"),
    ],
)
def test_new_entries_must_follow_from_those_before_them_old_and_new(settled: World, change: str, kind: str) -> None:
    for amount in (1, 2):
        settled.accepted("alice", "bob", amount)
    settled.drain()
    settled.tamper(f"UPDATE {change}")
    assert f"entry_{kind}" in kinds(settled.reconcile(full=False).breaks)


def test_heads_are_exported_only_when_everything_is_in_order(settled: World) -> None:
    before = settled.rows("SELECT count(*) FROM chain_head_export")
    settled.drain()
    hot_state.add(settled.client, settled.account_key("alice"), balance=7)
    settled.reconcile()
    assert settled.rows("SELECT count(*) FROM chain_head_export") == before
    hot_state.add(settled.client, settled.account_key("alice"), balance=-7)
    settled.reconcile()
    assert settled.rows("SELECT count(*) FROM chain_head_export") != before


def test_an_empty_installation_reconciles(world: World) -> None:
    assert world.reconcile().breaks == []


def test_cold_accounts_and_placeholders_are_no_breaks(settled: World) -> None:
    settled.cache.accounts.place_holder(["alice", "unheard-of"])
    settled.client.delete(settled.account_key("bob"))
    assert settled.reconcile().breaks == []


# Two looks


def test_a_hold_that_a_settle_has_freed_before_it_trims_the_outbox_is_no_break(settled: World) -> None:
    outbox = keys.outbox(settled.cache.partition_of("alice"))
    [(stream_id, fields)] = settled.client.xrange(outbox)  # type: ignore[misc]
    settled.drain()
    settled.client.delete(outbox)
    settled.client.xadd(outbox, fields, id=stream_id)
    report = settled.reconcile()
    assert (report.checked["intents"], report.breaks) == (1, [])


def interrupted(call: Any, number: int, when: str, act: Callable[[], None]) -> Any:
    """A call; something happens once, before or after the look at alice with this number."""
    left = number

    def look(*args: Any) -> Any:
        nonlocal left
        left -= "alice" in args[-1]
        is_now = "alice" in args[-1] and left == 0
        if is_now and when == "before":
            act()
        result = call(*args)
        if is_now and when == "after":
            act()
        return result

    return look


@pytest.mark.parametrize("call", ["inspect", "open_authorizations"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2], ids=["first look", "second look"])
@pytest.mark.parametrize("is_drained", [False, True], ids=["waiting", "in the books"])
def test_authorizations_that_come_and_go_around_a_look_are_no_breaks(
    settled: World, call: str, when: str, number: int, is_drained: bool
) -> None:
    settled.drain()
    ending = authorize(settled, 7)
    lose_authorized_hold(settled, 5)  # a true break, so that there is a second look
    [(lost,)] = settled.rows("SELECT payment_id FROM hold WHERE hold_minor = 5")

    def come_and_go() -> None:
        authorize(settled, 9)
        void(settled, ending)
        if is_drained:
            settled.drain()

    cache, ledger = settled.new_cache(), settled.new_ledger_reconciliation()
    looked_at = cache.inspection if call == "inspect" else ledger
    instead = {call: interrupted(getattr(looked_at, call), number, when, come_and_go)}
    verifier = ChainVerifier(settled.new_ledger_reconciliation(), settled.clock)
    report = Reconciler(Overridden(cache, **instead), Overridden(ledger, **instead), verifier, settled.clock).run(
        full=True
    )
    assert [(found.kind.value, found.subject) for found in report.breaks] == [
        ("authorization_without_hold", f"alice#{lost}")
    ]


# Under load


def test_reconciling_under_load_never_finds_what_is_not_there(world: World) -> None:
    world.bank()
    names = [
        world.account(account_in(partition, f"w{n}"), balance_minor=500)
        for partition in range(PARTITIONS)
        for n in (0, 1)
    ]
    reports = []
    with under_load(world, names, at_once=5, drains=2, batch_limit=40) as load:
        for number in range(12):
            if not load.stopped.is_set():
                reports.append(world.reconcile(full=number % 3 != 2))
    assert [report.breaks for report in reports] == [[]] * 12
    assert load.accepted
