"""Races between changes, payments, hydrating and posting: both orders by hand, then all at once in threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from threading import Barrier, Thread
from typing import Any

import pytest

from app.domain.account_changes import AccountPatch
from app.domain.accounts import AccountStatus
from app.domain.errors import LedgerUnavailable, OutcomeUnknown
from app.domain.payment import stream_id_order
from app.domain.refusals import Refusal, RefusalCode
from app.wiring.workers import build_reconciler
from tests.accounts.desk import Desk
from tests.api.world import BANK, World, assert_problem
from tests.patience import PATIENCE_S
from tests.services.faults import Overridden


def limit_of(minor: int | None, *, force: bool = False) -> AccountPatch:
    """A change of the limit."""
    return AccountPatch({"overdraft_limit_minor": minor}, "a test", force)


class _Between:
    """The ledger, with something happening inside the transaction, before its commit."""

    def __init__(self, inner: Any, happen: Callable[[], Any]) -> None:
        self._inner = inner
        self._happen = happen
        self._happened = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def changing(self, account_id: str) -> Iterator[Any]:
        with self._inner.changing(account_id) as change:
            yield Overridden(change, write=lambda *arguments: self._write(change, arguments))

    def _write(self, change: Any, arguments: Any) -> Any:
        written = change.write(*arguments)
        if not self._happened:
            self._happened = True
            self._happen()
        return written


def test_a_payment_before_a_cut_is_counted_and_one_after_it_is_refused(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    assert world.pay("alice", BANK, 120).status_code == 201
    assert_problem(desk.patch("alice", overdraft_limit_minor=10), 422, "limit_below_use")
    desk.changed("alice", overdraft_limit_minor=20)
    assert_problem(world.pay("alice", BANK, 1), 422, "insufficient_funds")
    world.assert_proven()


def test_a_payment_between_the_check_and_the_commit_of_a_cut_sees_the_new_floor(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    answers: list[str] = []
    pay = lambda: answers.append(world.pay("alice", BANK, 120).get_json()["code"])  # noqa: E731
    changes = desk.changes(ledger=_Between(desk.ledger, pay))
    assert not isinstance(changes.change("alice", limit_of(0), "key:test"), Refusal)
    assert answers == ["insufficient_funds"]
    world.assert_proven()


def test_a_payment_before_the_commit_of_a_raise_sees_the_old_floor_so_the_ledger_never_refuses_it(
    desk: Desk, world: World
) -> None:
    world.funded("alice", 100)
    answers: list[str] = []
    pay = lambda: answers.append(world.pay("alice", BANK, 120).get_json()["code"])  # noqa: E731
    changes = desk.changes(ledger=_Between(desk.ledger, pay))
    assert not isinstance(changes.change("alice", limit_of(50), "key:test"), Refusal)
    assert answers == ["insufficient_funds"]
    assert world.pay("alice", BANK, 120).status_code == 201
    world.assert_proven()


@pytest.mark.parametrize(("before", "after"), [(50, 0), (0, 50)])
def test_a_change_whose_commit_fails_leaves_both_floors_as_they_were(
    desk: Desk, world: World, before: int, after: int
) -> None:
    world.funded("alice", 100, overdraft_limit_minor=before)

    def fail() -> None:
        raise LedgerUnavailable("the connection is gone")

    changes = desk.changes(ledger=_Between(desk.ledger, fail))
    with pytest.raises(LedgerUnavailable):
        changes.change("alice", limit_of(after), "key:test")
    assert desk.floors("alice") == (-before, -before)
    assert desk.trail("alice") == []
    assert changes.change("alice", limit_of(after), "key:test")
    assert desk.floors("alice") == (-after, -after)
    world.assert_proven()


def test_a_cut_whose_answer_from_the_cache_is_lost_is_undone_and_can_be_repeated(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    assert world.balance("alice")["available_minor"] == 150
    calls: list[str] = []

    def lose_first_answer(account_id: str, floor_minor: int | None, version: int, mode: str) -> Any:
        reply = desk.cache.accounts.limit(account_id, floor_minor, version, mode)
        calls.append(mode)
        if len(calls) == 1:
            raise OutcomeUnknown("no answer in time")
        return reply

    changes = desk.changes(cache=Overridden(desk.cache, limit=lose_first_answer))
    with pytest.raises(OutcomeUnknown):
        changes.change("alice", limit_of(0), "key:test")
    assert calls == ["check", "assign"]
    assert desk.floors("alice") == (-50, -50)
    assert not isinstance(changes.change("alice", limit_of(0), "key:test"), Refusal)
    assert desk.floors("alice") == (0, 0)


def test_a_floor_left_behind_by_a_killed_process_is_put_right_by_the_next_change(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    assert world.balance("alice")["available_minor"] == 150
    with desk.ledger.changing("alice") as change:
        uncommitted = change.next_directory_version()
        desk.cache.accounts.limit("alice", 0, uncommitted, "check")
    assert desk.floors("alice") == (0, -50)
    desk.changed("alice", overdraft_limit_minor=50)
    assert desk.floors("alice") == (-50, -50)
    world.assert_proven()


@pytest.mark.parametrize(("before", "after"), [(50, 0), (0, 50)])
@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_hydrating_from_a_read_before_the_change_never_brings_the_old_floor_back(
    desk: Desk, world: World, before: int, after: int, moment: str
) -> None:
    world.funded("alice", 100, overdraft_limit_minor=before)
    world.cache.flushdb()
    change = lambda: desk.changed("alice", overdraft_limit_minor=after)  # noqa: E731
    if moment == "before_commit":
        # The hydrating process has read; the whole change happens; then it writes what it read.
        cache: Any = Overridden(desk.cache, hydrate=lambda *read: (change(), desk.cache.accounts.hydrate(*read))[1])
        desk.balances(cache).hydrate(["alice"])
    else:
        change()
        desk.balances().hydrate(["alice"])
    assert desk.floors("alice") == (-after, -after)
    world.assert_proven()


def test_a_cache_lost_in_the_middle_of_a_change_takes_the_new_floor_from_the_ledger(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    changes = desk.changes(ledger=_Between(desk.ledger, world.cache.flushdb))
    assert not isinstance(changes.change("alice", limit_of(0), "key:test"), Refusal)
    assert_problem(world.pay("alice", BANK, 120), 422, "insufficient_funds")
    assert desk.floors("alice") == (0, 0)


def test_a_freeze_between_a_payments_look_up_and_its_decision_still_bars_it(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    other = world.with_settings()
    directory = other.services.directory
    snapshot = directory.snapshot
    looked: list[AccountStatus] = []

    def look_up_then_freeze(*wanted: Any) -> Any:
        facts = snapshot().facts(*wanted)
        looked.append(facts["alice"].status)
        if len(looked) == 1:
            desk.changed("alice", status="frozen")
        return facts

    stale = lambda: Overridden(snapshot(), facts=look_up_then_freeze)  # noqa: E731
    directory.snapshot = stale  # type: ignore[method-assign]
    assert_problem(other.pay("alice", BANK, 1), 422, "account_frozen")
    assert looked == [AccountStatus.OPEN, AccountStatus.FROZEN]
    world.assert_proven()


def test_a_change_waits_for_the_posting_that_has_the_account_and_loses_nothing(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    world.pay("alice", BANK, 40)
    done: list[Any] = []
    with world.held_lock("alice"):
        thread = Thread(target=lambda: done.append(desk.patch("alice", overdraft_limit_minor=30).status_code))
        thread.start()
        thread.join(0.2)
        assert done == []
    thread.join(PATIENCE_S)
    assert done == [200]
    assert desk.floors("alice") == (-30, -30)
    world.assert_proven()


def test_the_reconciler_sees_no_break_in_a_change_that_is_under_way(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    seen: list[Any] = []

    reconciler = build_reconciler(world.settings)
    thread = Thread(target=lambda: seen.append(reconciler.run(full=True).breaks))

    def reconcile() -> None:
        thread.start()
        thread.join(1.0)
        assert seen == []  # it has seen two floors and waits for the change to end

    changes = desk.changes(ledger=_Between(desk.ledger, reconcile))
    assert not isinstance(changes.change("alice", limit_of(0), "key:test"), Refusal)
    thread.join(30)
    assert seen == [[]]
    world.assert_proven()


def test_many_payments_and_changes_at_once_never_overdraw_and_never_refuse_what_was_accepted(
    desk: Desk, world: World
) -> None:
    world.funded("alice", 2_000, overdraft_limit_minor=500)
    limits = [0, 500, 100, 900, 300, 0, 700, 50]
    start = Barrier(4 + 2 + 1 + 1)
    accepted: list[int] = []
    refused: set[str] = set()
    changed: list[int] = []
    faults: list[str] = []
    over = [False]

    def pay(number: int) -> None:
        process = world.with_settings()
        for n in range(60):
            response = process.pay("alice", BANK, 1 + (number * 7 + n) % 40)
            body = response.get_json()
            if response.status_code == 201:
                accepted.append(body["amount_minor"])
            else:
                refused.add(body["code"])

    def change(number: int) -> None:
        process = Desk(world.with_settings())
        for n in range(12):
            response = process.patch("alice", overdraft_limit_minor=limits[(n + 4 * number) % 8])
            if response.status_code == 200:
                changed.append(response.get_json()["overdraft_limit_minor"])
            else:
                refused.add(response.get_json()["code"])

    def freeze() -> None:
        process = Desk(world.with_settings())
        for _ in range(6):
            process.patch("alice", status="frozen_debits")
            process.patch("alice", status="open")

    def drain() -> None:
        while not over[0]:
            world.drain.run_once()

    def run(task: Callable[..., None], *arguments: Any) -> None:
        start.wait()
        try:
            task(*arguments)
        except Exception as error:
            faults.append(f"{task.__name__}: {error!r}")

    world.key  # noqa: B018  # one key for all, made before the threads start
    tasks: list[tuple[Any, ...]] = [*((pay, n) for n in range(4)), *((change, n) for n in range(2)), (freeze,)]
    threads = [Thread(target=run, args=task) for task in tasks]
    drainer = Thread(target=run, args=(drain,))
    for thread in [*threads, drainer]:
        thread.start()
    for thread in threads:
        thread.join(120)
    over[0] = True
    drainer.join(30)

    assert faults == []
    assert changed
    assert accepted
    assert refused <= {"insufficient_funds", "account_frozen", "limit_below_use", "concurrency_retry_exhausted"}
    world.assert_proven()
    assert world.sql("SELECT code FROM payment_rejection") == []
    balance = world.balance("alice")
    assert balance["balance_minor"] == 2_000 - sum(accepted)
    account = world.get("/v1/accounts/alice").get_json()
    assert (account["status"], balance["available_minor"] >= 0) == ("open", True)
    moves = [move for move in _all_moves(world) if "overdraft_limit_minor" in move[1]]
    for (_, after), (before, _) in pairwise(moves):
        assert after["overdraft_limit_minor"] == before["overdraft_limit_minor"]
    assert moves[-1][1]["overdraft_limit_minor"] == account["overdraft_limit_minor"]
    assert desk.floors("alice") == (-account["overdraft_limit_minor"], -account["overdraft_limit_minor"])


def _all_moves(world: World) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    data = world.get("/v1/accounts/alice/changes?limit=1000").get_json()["data"]
    return [(one["before"], one["after"]) for one in data]


def test_two_changes_at_once_come_one_after_the_other(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    start = Barrier(8)
    codes: list[int] = []

    def change(number: int) -> None:
        process = Desk(world.with_settings())
        start.wait()
        codes.append(process.patch("alice", overdraft_limit_minor=100 + number).status_code)

    world.key  # noqa: B018  # one key for all, made before the threads start
    threads = [Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == [200] * 8
    moves = desk.moves("alice")
    assert len(moves) == 8
    for (_, after), (before, _) in pairwise(moves):
        assert after == before
    last = moves[-1][1]["overdraft_limit_minor"]
    assert desk.floors("alice") == (-last, -last)
    world.assert_proven()


def test_an_unpushed_change_is_answered_as_unknown_and_the_sweep_pushes_it(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    sweep = desk.push()
    assert sweep.run_once() is True
    assert sweep.run_once() is False

    def lost(*arguments: object) -> None:
        raise OutcomeUnknown("no answer in time")

    def lost_at_the_end(account_id: str, floor_minor: int | None, version: int, mode: str) -> Any:
        return lost() if mode == "assign" else desk.cache.accounts.limit(account_id, floor_minor, version, mode)

    world.balance("alice")
    changes = desk.changes(cache=Overridden(desk.cache, push=lost, limit=lost_at_the_end))
    patch = AccountPatch({"overdraft_limit_minor": 50, "status": AccountStatus.FROZEN_CREDITS}, "a test")
    outcome = changes.change("alice", patch, "key:test")
    assert isinstance(outcome, Refusal)
    assert outcome.code is RefusalCode.OUTCOME_UNKNOWN
    assert desk.floors("alice") == (0, -50)
    assert sweep.run_once() is True
    assert sweep.run_once() is False
    assert desk.floors("alice") == (-50, -50)
    assert_problem(world.pay(BANK, "alice", 1), 422, "account_frozen")
    assert world.pay("alice", BANK, 150).status_code == 201


def test_a_change_that_could_not_be_pushed_says_so_over_http(desk: Desk, world: World) -> None:
    world.account("alice")

    def lost(*arguments: object) -> None:
        raise OutcomeUnknown("no answer in time")

    world.services.changes = desk.changes(cache=Overridden(desk.cache, push=lost))
    problem = assert_problem(desk.patch("alice", status="frozen"), 503, "outcome_unknown", retryable=True)
    assert problem["account_id"] == "alice"
    world.services.changes = desk.changes()
    assert desk.changed("alice", status="frozen")["status"] == "frozen"
    assert len(desk.trail("alice")) == 1


def test_the_sweep_never_loosens_what_a_change_under_way_has_tightened(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    desk.changed("alice", overdraft_limit_minor=60)
    seen: list[int | None] = []

    def sweep() -> None:
        desk.push().run_once()
        seen.append(desk.cached_floor("alice"))

    changes = desk.changes(ledger=_Between(desk.ledger, sweep))
    assert not isinstance(changes.change("alice", limit_of(0), "key:test"), Refusal)
    assert seen == [0]
    assert desk.floors("alice") == (0, 0)


def test_a_partition_that_lost_its_cache_reopens_after_every_posted_stream_id(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    [(last,)] = world.sql("SELECT max(last_position) FROM partition WHERE last_position <> ''")
    world.cache.flushdb()
    desk.changed("alice", status="frozen_credits")
    world.services.readiness.look()  # as each process does every second: it opens what is closed
    partition = world.drain.cache.partition_of(BANK)
    stream_id = world.cache.xinfo_stream(f"hf:{{{partition}}}:outbox")["last-generated-id"]
    assert stream_id_order(stream_id) > stream_id_order(last)
