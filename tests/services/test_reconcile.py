"""Reconciling: no false break under load, and every true one found, kept once, and resolved when gone."""

import random
from collections.abc import Callable
from itertools import count
from threading import Event, Thread
from typing import Any

import pytest

from app.domain.partitions import parse_payment_id
from app.domain.proof import BreakKind
from app.funds import keys
from app.services.answers import Accepted
from app.services.contention import LONGEST_DELAY_S
from app.services.holds import Concluded, Holds
from app.services.reconcile import Reconciler
from app.services.verify import Verifier
from tests import hot_state
from tests.builders import PARTITIONS, World, account_in, kinds, payment
from tests.patience import PATIENCE_S

Tamper = Callable[[World], None]


@pytest.fixture
def settled(world: World) -> World:
    """Alice and Bob with a history, everything posted and cached, and one payment pending."""
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob", balance_minor=50)
    for amount in (10, 20, 30):
        world.accepted("alice", "bob", amount)
        world.drain()
    world.warm("bob")
    world.accepted("alice", "bob", 5, "pending")
    assert world.reconcile().breaks == []
    return world


def authorize(world: World, amount_minor: int) -> str:
    return world.accepted("alice", "bob", amount_minor, manual_capture=True, expires_in_s=3_600).payment_id


def void(world: World, payment_id: str) -> None:
    outcome = Holds(world.funds, world.hold_books, world.payments, lambda: None).void(payment_id, "key:test")
    assert isinstance(outcome, Concluded)


def books(*statements: str) -> Tamper:
    return lambda world: world.tamper(*statements)


def cache(tamper: Callable[..., None], **values: Any) -> Tamper:
    return lambda world: tamper(world.client, world.account_key("alice"), **values)


def forge_hold(world: World) -> None:
    world.client.hset(world.account_key("alice"), "5-5", 7)
    hot_state.add(world.client, world.account_key("alice"), held=7)


def lose_hold(world: World) -> None:
    world.client.hdel(world.account_key("alice"), *hot_state.holds(world.client, world.account_key("alice")))
    hot_state.put(world.client, world.account_key("alice"), held=0)


def change_hold(world: World) -> None:
    [position] = hot_state.holds(world.client, world.account_key("alice"))
    world.client.hset(world.account_key("alice"), position, 4)
    hot_state.put(world.client, world.account_key("alice"), held=4)


def lose_authorized_hold(world: World, amount_minor: int = 7) -> None:
    place = parse_payment_id(authorize(world, amount_minor))
    assert place is not None
    world.drain()
    world.client.hdel(world.account_key("alice"), place.position)
    hot_state.add(world.client, world.account_key("alice"), held=-amount_minor)


ALICES_LAST = "(SELECT partition, chain_seq FROM entry WHERE account_id = 'alice' ORDER BY entry_number DESC LIMIT 1)"
ALICES_SECOND = "(SELECT partition, chain_seq FROM entry WHERE account_id = 'alice' AND entry_number = 2)"


def entry(change: str, account_id: str = "alice", number: int = 2) -> Tamper:
    return books(f"UPDATE entry SET {change} WHERE account_id = '{account_id}' AND entry_number = {number}")


def row(change: str) -> Tamper:
    return books(f"UPDATE account_balance SET {change} WHERE account_id = 'alice'")


def of_transaction(what: str, place: str = ALICES_SECOND) -> Tamper:
    return books(f"{what} WHERE (partition, chain_seq) = {place}")


def lose_intents(world: World) -> None:
    world.client.delete(keys.outbox(world.funds.partition_of("alice")))


def invent_account(world: World) -> None:
    ghost = account_in(world.funds.partition_of("alice"), "ghost")
    world.client.copy(world.account_key("alice"), world.account_key(ghost))


def delete_entry(account_id: str) -> Tamper:
    return books(f"DELETE FROM entry WHERE account_id = '{account_id}' AND entry_number = 2")


TAMPERING: list[tuple[str, Tamper, BreakKind]] = [
    ("cache balance one more", cache(hot_state.add, balance=1), BreakKind.CACHE_BALANCE),
    ("cache balance one less", cache(hot_state.add, balance=-1), BreakKind.CACHE_BALANCE),
    ("cache at an older entry", cache(hot_state.add, entry_count=-1), BreakKind.CACHE_BALANCE),
    ("cache at a later entry", cache(hot_state.add, entry_count=1), BreakKind.CACHE_AHEAD),
    ("an account only in the cache", invent_account, BreakKind.CACHE_AHEAD),
    ("cache floor lowered", cache(hot_state.put, floor="-500"), BreakKind.CACHE_FLOOR),
    ("cache floor gone", cache(hot_state.put, floor=""), BreakKind.CACHE_FLOOR),
    ("held raised", cache(hot_state.add, held=1), BreakKind.HELD_NOT_SUM),
    ("held gone", cache(hot_state.put, held=0), BreakKind.HELD_NOT_SUM),
    ("a hold that nobody intends", forge_hold, BreakKind.HOLD_WITHOUT_INTENT),
    ("the intent lost", lose_intents, BreakKind.HOLD_WITHOUT_INTENT),
    ("the hold of an authorization lost", lose_authorized_hold, BreakKind.AUTHORIZATION_WITHOUT_HOLD),
    ("the hold lost", lose_hold, BreakKind.INTENT_WITHOUT_HOLD),
    ("the hold changed", change_hold, BreakKind.INTENT_WITHOUT_HOLD),
    ("booked balance one more", row("balance_minor = balance_minor + 1"), BreakKind.BALANCE_NOT_SUM),
    ("trial balance off", row("balance_minor = balance_minor + 1"), BreakKind.TRIAL_BALANCE),
    ("entry count one more", row("entry_count = entry_count + 1"), BreakKind.ENTRY_GAP),
    ("an entry deleted", delete_entry("alice"), BreakKind.ENTRY_GAP),
    ("the first entry renumbered", entry("entry_number = 99", "bob", 1), BreakKind.ENTRY_GAP),
    ("the first entry numbered nought", entry("entry_number = 0", "bob", 1), BreakKind.ENTRY_GAP),
    ("an entry's balance changed", entry("balance_minor = balance_minor + 1"), BreakKind.ENTRY_RUNNING_BALANCE),
    ("an entry's amount changed", entry("amount_minor = amount_minor + 1"), BreakKind.TRANSACTION_UNBALANCED),
    ("one leg deleted", delete_entry("bob"), BreakKind.TRANSACTION_UNBALANCED),
    ("both legs deleted", of_transaction("DELETE FROM entry"), BreakKind.TRANSACTION_UNBALANCED),
    ("a transaction deleted", of_transaction("DELETE FROM ledger_transaction"), BreakKind.ORPHAN_ENTRY),
    ("an account deleted", books("DELETE FROM account_balance WHERE account_id = 'bob'"), BreakKind.ORPHAN_ENTRY),
    ("a text changed", of_transaction("UPDATE ledger_transaction SET description = 'x'"), BreakKind.CHAIN_HASH),
    ("both amounts doubled", of_transaction("UPDATE entry SET amount_minor = 2 * amount_minor"), BreakKind.CHAIN_HASH),
    ("a link deleted", of_transaction("DELETE FROM ledger_transaction"), BreakKind.CHAIN_LINK),
    ("the tail deleted", of_transaction("DELETE FROM ledger_transaction", ALICES_LAST), BreakKind.CHAIN_HEAD),
]


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
    assert {kind for _, _, kind in TAMPERING} == set(BreakKind)


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
    settled.funds.place_holder(["alice", "unheard-of"])
    settled.client.delete(settled.account_key("bob"))
    assert settled.reconcile().breaks == []


# Two looks


def test_a_hold_that_a_settle_has_freed_before_it_trims_the_outbox_is_no_break(settled: World) -> None:
    outbox = keys.outbox(settled.funds.partition_of("alice"))
    [(position, fields)] = settled.client.xrange(outbox)  # type: ignore[misc]
    settled.drain()
    settled.client.delete(outbox)
    settled.client.xadd(outbox, fields, id=position)
    report = settled.reconcile()
    assert (report.checked["intents"], report.breaks) == (1, [])


class Interrupted:
    """A port; something happens once, before or after the look at alice with this number."""

    def __init__(self, port: Any, name: str, number: int, when: str, act: Callable[[], None]) -> None:
        self._port, self._name, self._left, self._when, self._act = port, name, number, when, act

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name != self._name:
            return found

        def look(*args: Any) -> Any:
            self._left -= "alice" in args[-1]
            is_now = "alice" in args[-1] and self._left == 0
            if is_now and self._when == "before":
                self._act()
            result = found(*args)
            if is_now and self._when == "after":
                self._act()
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

    def interrupted(port: Any) -> Any:
        return Interrupted(port, call, number, when, come_and_go)

    funds, books = interrupted(settled.new_funds()), interrupted(settled.new_proof_books())
    verifier = Verifier(settled.new_proof_books(), settled.clock)
    report = Reconciler(funds, books, verifier, settled.clock).run(full=True)
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
    stopped = Event()
    failures: list[BaseException] = []
    accepted: list[int] = []

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)
                stopped.set()

        return run

    def payer(number: int) -> Callable[[], None]:
        payments, chance, numbers = world.new_payments(world.new_funds()), random.Random(number), count()

        def pay() -> None:
            while not stopped.is_set():
                wanted = []
                for _ in range(5):
                    source, destination = chance.sample([*names, "bank"], 2)
                    external_id = f"load-{number}-{next(numbers)}"
                    wanted.append(payment(source, destination, chance.randint(1, 400), external_id=external_id))
                accepted.append(sum(isinstance(one, Accepted) for one in payments.submit(wanted, "key:load")))

        return pay

    def drainer() -> Callable[[], None]:
        ticks = count()
        drain = world.new_drain(batch_limit=40, clock=lambda: next(ticks) * LONGEST_DELAY_S)

        def work() -> None:
            while not stopped.is_set():
                drain.run_once()

        return work

    threads = [Thread(target=guarded(work)) for work in (payer(1), payer(2), drainer(), drainer())]
    for thread in threads:
        thread.start()
    reports = []
    for number in range(12):
        if not stopped.is_set():
            reports.append(world.reconcile(full=number % 3 != 2))
    stopped.set()
    for thread in threads:
        thread.join(timeout=PATIENCE_S)

    assert failures == []
    assert [report.breaks for report in reports] == [[]] * 12
    assert sum(accepted) > 0
    ticks = count()
    world.drain(world.new_drain(clock=lambda: next(ticks) * LONGEST_DELAY_S), rounds=1_000)
    world.assert_proven()
