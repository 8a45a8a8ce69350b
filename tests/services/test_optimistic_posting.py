"""Posting on remembered rows: what is ordinary goes straight through, every surprise goes the careful way."""

from threading import Event
from typing import Any

import pytest

from app.domain.errors import ConcurrencyConflict
from app.ledger.posting_session import PostingSession
from app.services.posting.contention import LONGEST_DELAY_S
from app.services.posting.drain import Drain
from tests import hot_state
from tests.builders import World
from tests.patience import PATIENCE_S
from tests.services.faults import Crashed, CrashPoints, Stepped, SteppedSession
from tests.services.test_drain import forget


class Watched:
    """The books of a drain, which note the way of each posting."""

    def __init__(self, ledger: PostingSession) -> None:
        self._ledger = ledger
        self.ways: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def posting(self, partitions: Any) -> Any:
        self.ways.append("careful")
        return self._ledger.posting(partitions)

    def post(self, plan: Any) -> None:
        self.ways.append("straight")
        self._ledger.post(plan)
        self.ways.append("posted")


class Watching:
    """A world with one drain that remembers its rows, and what is to be seen of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.bank()
        world.account("alice", balance_minor=1_000)
        world.account("bob")
        self.ledger = Watched(world.new_posting_session())
        self.drain: Drain = world.new_drain(ledger=self.ledger)
        world.accepted("alice", "bob", 1, "first")
        self.drained()

    def drained(self) -> list[str]:
        """Drain until nothing is left; the ways that were taken."""
        self.ledger.ways.clear()
        self.world.drain(self.drain)
        return list(self.ledger.ways)


@pytest.fixture
def watching(world: World) -> Watching:
    return Watching(world)


def test_payments_of_remembered_accounts_are_posted_without_reading_or_locking_first(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10, description="lunch", metadata={"b": [1.5, "ü"], "a": 'quoted "\\'})
    world.accepted("alice", "bob", 5)
    assert watching.drained() == ["straight", "posted"]
    assert (world.booked("alice"), world.booked("bob")) == (984, 16)
    world.assert_proven()


def test_accounts_that_are_not_remembered_are_read_and_then_go_straight_through_too(watching: Watching) -> None:
    world = watching.world
    world.account("carol")
    world.accepted("alice", "carol", 10)
    assert watching.drained() == ["straight", "posted"]
    assert world.booked("carol") == 10
    world.assert_proven()


def test_a_row_that_another_drain_has_changed_since_is_noticed_and_posted_with_care(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10)
    world.drain(world.new_drain())
    world.accepted("alice", "bob", 5)
    assert watching.drained() == ["straight", "careful"]
    assert (world.booked("alice"), world.booked("bob")) == (984, 16)
    world.assert_proven()


@pytest.mark.parametrize("column", ["balance_minor", "version", "entry_count"])
def test_whatever_differs_in_a_remembered_row_nothing_is_written_on_it(watching: Watching, column: str) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10)
    world.tamper(f"UPDATE account_balance SET {column} = {column} + 1 WHERE account_id = 'bob'")
    assert watching.drained() == ["straight", "careful"]
    world.tamper(f"UPDATE account_balance SET {column} = {column} - 1 WHERE account_id = 'bob'")
    assert world.rows("SELECT count(*) FROM ledger_transaction WHERE external_id LIKE 'auto-%'") == [(2,)]


def test_funds_that_the_remembered_row_lacks_are_looked_for_in_the_books(watching: Watching) -> None:
    """The floor was lowered since: remembered rows refuse nothing."""
    world = watching.world
    world.tamper("UPDATE account_balance SET floor_minor = -500 WHERE account_id = 'alice'")
    world.warm("alice")
    hot_state.put(world.client, world.account_key("alice"), balance=999, floor=-500)
    world.accepted("alice", "bob", 1_200)
    assert watching.drained() == ["careful"]
    assert world.booked("alice") == -201


def test_a_floor_that_was_raised_since_is_guarded_by_the_books(watching: Watching) -> None:
    world = watching.world
    accepted = world.accepted("alice", "bob", 600)
    world.tamper("UPDATE account_balance SET floor_minor = 500 WHERE account_id = 'alice'")
    assert watching.drained() == ["straight", "careful"]
    assert (world.booked("alice"), world.booked("bob")) == (999, 1)
    assert world.history.rejected(accepted.payment_id) is not None


def test_what_is_posted_already_is_only_settled_again(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10)
    dying = Stepped(world.new_cache(), CrashPoints(at=1), ("settle_all",))
    watching.drain._settler._cache = dying
    with pytest.raises(Crashed, match="before settle_all"):
        watching.drain.run_once()
    assert (world.booked("bob"), world.cached("alice").funds.held_minor) == (11, 10)
    watching.drain._settler._cache = world.new_cache()
    assert watching.drained() == ["straight", "careful"]  # its own keys refuse it
    assert (world.booked("bob"), world.cached("alice").funds.held_minor) == (11, 0)
    world.assert_proven()


def test_a_crash_around_the_posting_loses_nothing_and_posts_nothing_twice(watching: Watching) -> None:
    world = watching.world
    for at, booked in ((1, 1), (2, 11)):
        world.accepted("alice", "bob", 10, f"crash-{at}")
        points = CrashPoints()
        watching.drain._optimistic._ledger = SteppedSession(watching.ledger._ledger, points)
        points._at = at
        with pytest.raises(Crashed, match="post"):
            watching.drain.run_once()
        assert world.booked("bob") == booked + (10 if at == 2 else 0)
        watching.drain._optimistic._ledger = watching.ledger
        watching.drained()
        assert world.booked("bob") == booked + 10
    world.assert_proven()


def test_what_was_rejected_before_is_not_posted_when_it_is_delivered_again(watching: Watching) -> None:
    world = watching.world
    world.warm("alice")
    hot_state.put(world.client, world.account_key("alice"), balance=5_000)  # a cache that is wrong
    rejected = world.accepted("alice", "bob", 4_000, "order-1")
    watching.drain._settler._cache = Stepped(world.new_cache(), CrashPoints(at=1), ("settle_all",))
    with pytest.raises(Crashed, match="before settle_all"):
        watching.drain.run_once()
    watching.drain._settler._cache = world.new_cache()
    world.tamper("UPDATE account_balance SET floor_minor = -9000 WHERE account_id = 'alice'")
    watching.drain._remembered.balances["alice"].floor_minor = -9_000  # so it could be posted now
    assert watching.drained() == ["straight", "careful"]
    assert world.history.rejected(rejected.payment_id) is not None
    assert (world.booked("bob"), world.cached("alice").funds.held_minor) == (1, 0)


def test_an_external_id_of_an_authorization_is_not_posted_as_a_payment(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10, "order-1", manual_capture=True)
    assert watching.drained() == ["careful"]
    forget(world, "order-1")
    world.accepted("alice", "bob", 10, "order-1")
    assert watching.drained()[-2:] == ["straight", "careful"]
    assert world.booked("bob") == 1


def test_a_row_that_is_locked_elsewhere_is_passed_by_with_care_and_counted(watching: Watching) -> None:
    world = watching.world
    world.account("hot")
    world.account("carol", balance_minor=50)
    world.accepted("alice", "hot", 1)
    watching.drained()
    world.accepted("alice", "bob", 10)
    world.accepted("carol", "hot", 5)
    with world.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM account_balance WHERE account_id = 'hot' FOR UPDATE")
        watching.ledger.ways.clear()
        report = watching.drain.run_once()
        assert (report.posted, report.deferred) == (1, 1)
        assert watching.ledger.ways == ["straight", "careful"]
        assert world.conflicts() == {"hot": (1, 0)}
    world.clock.now += LONGEST_DELAY_S
    watching.drained()
    assert (world.booked("hot"), world.booked("bob")) == (6, 11)
    world.assert_proven()


def test_a_row_changed_by_a_concurrent_posting_is_counted_by_account(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10)

    def overtaken(_plan: Any) -> None:
        world.tamper("UPDATE account_balance SET version = version + 1 WHERE account_id = 'alice'")
        raise ConcurrencyConflict("could not serialize access")

    watching.ledger.post = overtaken  # type: ignore[method-assign]
    assert watching.drained() == ["careful"]
    assert world.conflicts() == {"alice": (1, 0)}
    assert world.booked("bob") == 11


def test_a_constraint_that_refuses_a_posting_is_left_to_the_careful_path(watching: Watching) -> None:
    world = watching.world
    world.owner.execute("ALTER TABLE ledger_transaction ADD CONSTRAINT no_luck CHECK (description <> 'bad') NOT VALID")
    world.accepted("alice", "bob", 10)
    world.accepted("alice", "bob", 20, description="bad")
    assert watching.drained()[:2] == ["straight", "careful"]
    assert world.booked("bob") == 11
    world.assert_proven()


# While the next is planned


def full_batches(world: World, count: int) -> Drain:
    """A drain of small batches that remembers everything, and so many full ones in the outbox."""
    drain = world.new_drain(batch_limit=8)
    world.accepted("alice", "bob", 1)
    world.drain(drain)
    for _ in range(8 * count):
        world.accepted("alice", "bob", 1)
    return drain


def test_a_full_batch_is_planned_while_the_one_before_is_being_written(watching: Watching) -> None:
    world = watching.world
    drain = full_batches(world, 3)
    let_go, planned_meanwhile = Event(), []
    post, prepare = drain._optimistic._ledger.post, drain._optimistic.prepare

    def slow(plan: Any) -> None:
        assert let_go.wait(timeout=PATIENCE_S)
        post(plan)

    def noted(batch: Any) -> Any:
        prepared = prepare(batch)
        planned_meanwhile.append(prepared is not None and not let_go.is_set())
        if len(planned_meanwhile) == 2:
            let_go.set()
        return prepared

    drain._optimistic._ledger.post = slow  # type: ignore[method-assign]
    drain._optimistic.prepare = noted  # type: ignore[method-assign]
    with drain.turn() as partitions:
        assert [drain.round(partitions).posted for _ in range(4)] == [8, 8, 8, 0]
    assert planned_meanwhile[:2] == [True, True]
    world.assert_proven()


def test_what_was_planned_upon_a_posting_that_failed_is_not_written(watching: Watching) -> None:
    world = watching.world
    drain = full_batches(world, 3)
    world.tamper("UPDATE account_balance SET version = version + 1 WHERE account_id = 'alice'")
    ledger = Watched(drain._ledger)  # type: ignore[arg-type]
    drain._optimistic._ledger = drain._locked._ledger = ledger  # type: ignore[assignment]
    with drain.turn() as partitions:
        assert drain.round(partitions).posted == 8
        assert ledger.ways == ["straight", "careful"]
        assert drain.round(partitions).posted == 8
    assert world.booked("bob") == 2 + 24
    world.assert_proven()


def test_a_turn_that_ends_while_the_next_batch_is_being_written_settles_that_too(watching: Watching) -> None:
    world = watching.world
    drain = full_batches(world, 2)
    with drain.turn() as partitions:
        assert drain.round(partitions).posted == 8
    assert sum(world.cache.outbox.backlog().values()) == 0
    world.assert_proven()


def test_a_batch_written_ahead_behind_a_settle_that_failed_is_not_trimmed(watching: Watching) -> None:
    """Else the holds of the batch before would never be found again."""
    world = watching.world
    drain = full_batches(world, 3)
    settle_all, calls = drain._settler._cache.outbox.settle_all, []

    def failing(settlements: Any) -> None:
        calls.append(settlements)
        if len(calls) == 1:
            raise Crashed("the first settle")
        settle_all(settlements)

    drain._settler._cache.outbox.settle_all = failing  # type: ignore[method-assign]

    def rounds() -> None:
        with drain.turn() as partitions:
            for _ in range(3):
                drain.round(partitions)

    with pytest.raises(Crashed):
        rounds()
    assert len(calls) == 1
    assert sum(world.cache.outbox.backlog().values()) == 24
    world.drain(world.new_drain())
    assert world.booked("bob") == 2 + 24
    world.assert_proven()
