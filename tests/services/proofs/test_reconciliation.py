"""Reconciliation: no false break under load; every true one is found, recorded once, and resolved when gone."""

from collections.abc import Callable
from typing import Any

import pytest

from app.cache import keys
from app.domain.breaks import BreakKind
from app.domain.errors import NothingProved
from app.services.proofs.chain_verification import ChainVerifier, Leisure
from app.services.proofs.reconciliation import Reconciler
from tests import hot_state
from tests.builders import PARTITIONS, account_in
from tests.services.faults import Crashed, Overridden
from tests.services.load import under_load
from tests.services.tampering import TAMPERING, Tamper, authorize, kinds, lose_authorized_hold, stay_behind, void
from tests.world import World


@pytest.mark.parametrize(("tamper", "kind"), [t[1:] for t in TAMPERING], ids=[t[0] for t in TAMPERING])
def test_every_difference_is_found_and_recorded_once(settled: World, tamper: Tamper, kind: BreakKind) -> None:
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


def test_the_tampering_provokes_every_kind_of_break() -> None:
    assert {kind for _, _, kind in TAMPERING} | OF_THEIR_OWN == set(BreakKind)


OF_THEIR_OWN = {
    BreakKind.CACHE_BEHIND,
    BreakKind.BREAK_HISTORY,
    BreakKind.CACHE_LOST,
    BreakKind.SIGNED_HEAD,
    BreakKind.MERKLE_SUBTREE,
}
"""What a run corrects itself, and what is about its own records; their tests are below. What the cache has lost is
found by the watch over its identity: `test_cache_identity.py`. Signed heads and their trees are compared by the chain
verification: `tests/evidence/test_rewritten_history.py`."""


def test_a_break_names_both_sides(settled: World) -> None:
    hot_state.add(settled.client, settled.account_key("alice"), balance=7)
    [found] = settled.reconcile().breaks
    assert (found.kind, found.subject) == (BreakKind.CACHE_BALANCE, "alice")
    assert found.figures == {"cache_balance_minor": 947, "ledger_balance_minor": 940, "at_entry_number": 4}


@pytest.mark.parametrize("full", [False, True])
def test_a_break_that_is_gone_is_resolved_by_the_next_run_and_keeps_its_history(settled: World, full: bool) -> None:
    hot_state.add(settled.client, settled.account_key("alice"), balance=7)
    first = settled.reconcile()
    hot_state.add(settled.client, settled.account_key("alice"), balance=-7)

    last = settled.reconcile(full=full)

    assert (last.breaks, last.open_breaks) == ([], 0)
    assert settled.rows("SELECT state, reason_code FROM reconciliation_break") == [("resolved", "no_longer_seen")]
    assert settled.rows("SELECT actor, state, note FROM reconciliation_break_event ORDER BY event_id") == [
        ("reconciler", "open", f"found by run {first.run_id}"),
        ("reconciler", "resolved", f"not seen by {'full ' if full else ''}run {last.run_id}"),
    ]


def test_a_break_that_comes_back_is_a_new_one(settled: World) -> None:
    for difference in (7, -7, 7):
        hot_state.add(settled.client, settled.account_key("alice"), balance=difference)
        settled.reconcile()
    assert settled.rows("SELECT state FROM reconciliation_break ORDER BY break_id") == [("resolved",), ("open",)]


def test_runs_are_recorded_with_what_they_checked(settled: World) -> None:
    report = settled.reconcile()
    [(mode, finished, checked, breaks)] = settled.rows(
        "SELECT mode, finished_at IS NOT NULL, checked, break_count FROM reconciliation_run WHERE run_id = %s",
        report.run_id,
    )
    assert (mode, finished, breaks) == ("full", True, 0)
    assert checked == report.checked
    assert checked["intents"] == 1
    assert checked["transactions"] == 5


def test_an_incremental_run_checks_only_new_entries_and_finds_breaks_in_them(settled: World) -> None:
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
def test_new_entries_must_continue_the_old_and_the_new_ones_before_them(settled: World, change: str, kind: str) -> None:
    for amount in (1, 2):
        settled.accepted("alice", "bob", amount)
    settled.drain()
    settled.tamper(f"UPDATE {change}")
    assert f"entry_{kind}" in kinds(settled.reconcile(full=False).breaks)


def test_chain_heads_are_exported_only_when_there_is_no_break(settled: World) -> None:
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
    settled.cache.accounts.set_placeholders(["alice", "unheard-of"])
    settled.client.delete(settled.account_key("bob"))
    assert settled.reconcile().breaks == []


# What the runs themselves keep


def test_a_cursor_beyond_its_chain_is_a_break_and_the_chain_is_proved_from_its_beginning(settled: World) -> None:
    settled.tamper("UPDATE reconciliation_cursor SET chain_seq = 99")
    settled.tamper("UPDATE ledger_transaction SET description = 'x' WHERE chain_seq = 1")
    report = settled.reconcile(full=False)
    assert {"cursor_ahead", "chain_hash"} <= kinds(report.breaks)
    assert report.checked["transactions"] == 5


def test_a_cursor_that_was_moved_forward_hides_nothing_from_a_process_that_has_run_before(settled: World) -> None:
    settled.drain()
    settled.tamper("UPDATE entry SET balance_minor = balance_minor + 1 WHERE account_id = 'alice' AND entry_number = 5")
    with settled.connect(owner=False) as app:
        app.execute(
            "UPDATE reconciliation_cursor c SET chain_seq = p.chain_seq FROM partition p"
            " WHERE p.partition = c.partition"
        )
    assert {"entry_running_balance", "chain_hash"} <= kinds(settled.reconcile(full=False).breaks)


@pytest.mark.parametrize("to", ["0", "(SELECT chain_seq FROM partition p WHERE p.partition = c.partition)"])
def test_a_recorded_break_stays_open_wherever_the_cursors_are_moved_to(settled: World, to: str) -> None:
    settled.tamper("UPDATE ledger_transaction SET description = 'x' WHERE chain_seq = 1")
    found = settled.reconcile().open_breaks
    with settled.connect(owner=False) as app:
        app.execute(f"UPDATE reconciliation_cursor c SET chain_seq = {to}")
    assert settled.reconcile(full=False).open_breaks == found > 0
    assert settled.reconcile().open_breaks == found


def test_a_break_that_somebody_closes_without_a_word_is_found_again(settled: World) -> None:
    hot_state.add(settled.client, settled.account_key("alice"), balance=7)
    settled.reconcile()
    with settled.connect(owner=False) as app:
        app.execute("UPDATE reconciliation_break SET state = 'accepted'")
    assert kinds(settled.reconcile().breaks) == {"cache_balance", "break_history"}


def test_a_full_run_that_has_looked_at_nothing_is_a_fault(settled: World) -> None:
    blind = Overridden(settled.new_ledger_reconciliation(), ranges=lambda full: [])
    verifier = ChainVerifier(blind, settled.clock)
    with pytest.raises(NothingProved):
        Reconciler(settled.new_cache(), blind, verifier, settled.clock).run(full=True)
    with pytest.raises(NothingProved):
        verifier.run()


# A cache that stays behind


@pytest.mark.parametrize("full", [False, True])
def test_a_cache_that_stays_behind_is_rebuilt_and_the_break_kept(settled: World, full: bool) -> None:
    stay_behind(settled)
    report = settled.reconcile(full=full)
    [found] = report.healed
    assert (found.kind, found.subject) == (BreakKind.CACHE_BEHIND, "bob")
    assert found.figures == {"at_entry_number": 2, "cache_balance_minor": 60, "ledger_entry_count": 5}
    assert (report.breaks, report.open_breaks) == ([], 0)
    assert settled.cached("bob").funds.balance_minor == settled.booked("bob")
    assert settled.rows("SELECT kind, subject, state, reason_code FROM reconciliation_break") == [
        ("cache_behind", "bob", "resolved", "healed")
    ]
    history = settled.rows("SELECT actor, state FROM reconciliation_break_event ORDER BY event_id")
    assert history == [("reconciler", state) for state in ("open", "investigating", "resolved")]
    assert settled.rows("SELECT actor, subject FROM audit_event WHERE action = 'cache.repair'") == [
        ("reconciler", "bob")
    ]
    settled.assert_proven()


def crash(*_: Any) -> None:
    raise Crashed


def test_a_cache_that_an_intent_will_bring_up_is_not_behind(settled: World) -> None:
    """The process ended between the commit and the settle: the next drain finds the intent and settles all of it."""
    drain = settled.new_drain(cache=Overridden(settled.new_cache(), settle_all=crash))
    with pytest.raises(Crashed):
        drain.run_once()
    assert settled.cached("bob").funds.balance_minor < settled.booked("bob")
    report = settled.reconcile()
    assert (report.breaks, report.healed) == ([], [])
    settled.drain()
    settled.assert_proven()


def test_nothing_is_healed_from_a_ledger_in_doubt(settled: World) -> None:
    stay_behind(settled)
    settled.tamper("UPDATE ledger_transaction SET description = 'x' WHERE chain_seq = 1")
    cached = settled.cached("bob")
    report = settled.reconcile()
    assert {"cache_behind", "chain_hash"} == kinds(report.breaks)
    assert (report.healed, settled.cached("bob")) == ([], cached)
    assert settled.reconcile(full=False).healed == []


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
    """A call during which `act` runs once: before or after the look at alice with this number."""
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
@pytest.mark.parametrize("is_drained", [False, True], ids=["waiting", "in the ledger"])
def test_authorizations_made_or_ended_during_a_reconciliation_are_no_breaks(
    settled: World, call: str, when: str, number: int, is_drained: bool
) -> None:
    settled.drain()
    ending = authorize(settled, 7)
    lose_authorized_hold(settled, 5)  # a true break, so that there is a second look
    [(lost,)] = settled.rows("SELECT payment_id FROM hold WHERE hold_minor = 5")

    def authorize_and_void() -> None:
        authorize(settled, 9)
        void(settled, ending)
        if is_drained:
            settled.drain()

    cache, ledger = settled.new_cache(), settled.new_ledger_reconciliation()
    looked_at = cache.inspection if call == "inspect" else ledger
    instead = {call: interrupted(getattr(looked_at, call), number, when, authorize_and_void)}
    verifier = ChainVerifier(settled.new_ledger_reconciliation(), settled.clock)
    report = Reconciler(Overridden(cache, **instead), Overridden(ledger, **instead), verifier, settled.clock).run(
        full=True
    )
    assert [(found.kind.value, found.subject) for found in report.breaks] == [
        ("authorization_without_hold", f"alice#{lost}")
    ]


# Pauses


@pytest.mark.parametrize(("tamper", "kind"), [one[1:] for one in TAMPERING], ids=[one[0] for one in TAMPERING])
def test_a_reconciliation_with_pauses_finds_every_kind_of_break(
    settled: World, tamper: Tamper, kind: BreakKind
) -> None:
    tamper(settled)
    pace = Leisure(settled.clock, settled.clock.sleep)
    verifier = ChainVerifier(settled.new_ledger_reconciliation(), settled.clock, pace)
    settled.clock.slept.clear()
    reconciler = Reconciler(settled.new_cache(), settled.new_ledger_reconciliation(), verifier, settled.clock, pace)
    assert kind in {found.kind for found in reconciler.run(full=True).breaks}
    assert settled.clock.slept


# Under load


def test_reconciliation_under_load_reports_no_false_break(world: World) -> None:
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
    assert [report.healed for report in reports] == [[]] * 12
    assert load.accepted
