"""Repair: every break of the cache is corrected from the ledger, under load too, and always on record."""

import pytest

from app.domain.breaks import OF_THE_CACHE, BreakKind
from app.services.proofs.repair import Repair
from tests import hot_state
from tests.services.load import under_load
from tests.services.tampering import BEHIND, TAMPERING, Tamper, authorize, kinds, lose_authorized_hold, void
from tests.world import World

OF_CACHE = [one for one in [*TAMPERING, BEHIND] if one[2] in OF_THE_CACHE]
OF_LEDGER = [one for one in TAMPERING if one[2] not in OF_THE_CACHE]


def repair_of(world: World) -> Repair:
    return Repair(world.reconciler, world.cache, world.new_ledger_reconciliation())


@pytest.mark.parametrize(("tamper", "kind"), [one[1:] for one in OF_CACHE], ids=[one[0] for one in OF_CACHE])
def test_repair_corrects_every_break_of_the_cache(settled: World, tamper: Tamper, kind: BreakKind) -> None:
    tamper(settled)
    report = repair_of(settled).run("ann", "drill 7")
    assert (report.proof.breaks, report.proof.open_breaks, report.in_doubt) == ([], 0, [])
    [(account_id, breaks)] = report.repaired.items()
    assert kind in {found.kind for found in breaks}
    [(actor, subject, detail)] = settled.rows(
        "SELECT actor, subject, detail FROM audit_event WHERE action = 'cache.repair'"
    )
    assert (actor, subject, detail["reason"]) == ("ann", account_id, "drill 7")
    assert [found["kind"] for found in detail["breaks"]] == [found.kind.value for found in breaks]
    history = settled.rows("SELECT DISTINCT actor, state FROM reconciliation_break_event ORDER BY 1, 2")
    assert history == [("ann", "investigating"), ("reconciler", "open"), ("reconciler", "resolved")]
    settled.drain()
    settled.assert_proven()


def test_a_pending_payment_keeps_its_hold_through_a_repair(settled: World) -> None:
    before = settled.cached("alice").funds
    hot_state.put(settled.client, settled.account_key("alice"), balance=7, held=0, floor="-99", entry_count=1)
    repair_of(settled).run("ann", "drill")
    after = settled.cached("alice").funds
    assert (after.balance_minor, after.held_minor, after.floor_minor) == (940, 5, 0)
    assert after.version > before.version, "a client that has read the wrong funds cannot spend on them"
    settled.drain()
    assert settled.cached("alice").funds.balance_minor == settled.booked("alice") == 935


def test_repair_gives_no_hold_back_to_an_authorization_that_is_being_concluded(settled: World) -> None:
    payment_id = authorize(settled, 20)
    settled.drain()
    void(settled, payment_id)
    hot_state.add(settled.client, settled.account_key("alice"), balance=1)
    repair_of(settled).run("ann", "drill")
    assert settled.cached("alice").funds.held_minor == 0
    settled.drain()
    settled.assert_proven()


def test_repair_restores_the_lost_hold_of_an_authorization(settled: World) -> None:
    settled.drain()
    lose_authorized_hold(settled, 7)
    assert settled.cached("alice").funds.available_minor == 935
    repair_of(settled).run("ann", "drill")
    assert settled.cached("alice").funds.available_minor == 928


@pytest.mark.parametrize("tamper", [one[1] for one in OF_LEDGER], ids=[one[0] for one in OF_LEDGER])
def test_repair_changes_nothing_while_the_ledger_itself_is_wrong(settled: World, tamper: Tamper) -> None:
    tamper(settled)
    hot_state.add(settled.client, settled.account_key("bob"), held=3)
    cached = settled.cached("bob")
    report = repair_of(settled).run("ann", "drill")
    assert report.in_doubt
    assert report.repaired == {}
    assert not kinds(report.in_doubt) & OF_THE_CACHE
    assert report.proof.open_breaks > 0
    assert settled.cached("bob") == cached
    assert settled.rows("SELECT 1 FROM audit_event WHERE action = 'cache.repair'") == []


def test_a_repair_without_breaks_changes_nothing(settled: World) -> None:
    before = settled.cached("alice")
    report = repair_of(settled).run("ann", "drill")
    assert (report.repaired, report.in_doubt, report.proof.breaks) == ({}, [], [])
    assert settled.cached("alice") == before


def test_repair_under_load_loses_no_payment_and_allows_no_overdraft(world: World) -> None:
    """Unexplained holds appear again and again, and a repair removes them each time."""
    world.bank()
    names = [world.account(f"w{number}", balance_minor=500) for number in range(6)]
    for name in names:
        world.warm(name)  # what is not in the cache cannot be wrong there
    repair, repaired = repair_of(world), 0
    with under_load(world, names, at_once=1, drains=1, batch_limit=20) as load:
        for number in range(12):
            if not load.stopped.is_set():
                # A hold that nothing explains, of more than the account has.
                world.client.hset(world.account_key(names[number % 6]), f"{number + 1}-0", 10_000)
                report = repair.run("ann", f"drill {number}")
                repaired += len(report.repaired)
                assert report.proof.breaks == []
    assert repaired >= 12
    assert set(load.accepted) <= set(world.posted_external_ids())
    assert min(world.booked(name) for name in names) >= 0
