"""Optimistic posting: ordinary payments are posted on remembered rows, and every surprise is posted under row locks."""

from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import pytest

from app.domain.errors import ConcurrencyConflict
from app.services.posting.contention import LONGEST_DELAY_S
from app.services.posting.drain import Drain
from tests import hot_state
from tests.patience import PATIENCE_S
from tests.services.faults import Crashed, CrashPoints, Overridden, Replaceable, Stepped
from tests.world import World


class Watched:
    """The ledger of a drain; it notes how each batch is posted: optimistically or under locks."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.ways: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def posting(self, partitions: Any) -> Any:
        self.ways.append("locked")
        return self._ledger.posting(partitions)

    def post(self, plan: Any) -> None:
        self.ways.append("optimistic")
        self._ledger.post(plan)
        self.ways.append("posted")


class Watching:
    """A world with one drain that remembers its rows. A test may replace its cache and its ledger."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.bank()
        world.account("alice", balance_minor=1_000)
        world.account("bob")
        self.session = world.new_posting_session()
        self.ledger = Replaceable(self.session)
        self.watched = Watched(self.ledger)
        self.cache = Replaceable(world.new_cache())
        self.drain: Drain = world.new_drain(cache=self.cache, ledger=self.watched)
        world.accepted("alice", "bob", 1, "first")
        self.drained()

    @property
    def ways(self) -> list[str]:
        """How the batches since the last drain were posted."""
        return self.watched.ways

    def drained(self) -> list[str]:
        """Drain until nothing is left; returns how the batches were posted."""
        self.ways.clear()
        self.world.drain(self.drain)
        return list(self.ways)

    def crash_before_settling(self) -> None:
        """Drain once, and crash after the batch is posted and before it is settled."""
        real = self.cache.present
        self.cache.present = Stepped(real, CrashPoints(at=1), ("settle_all",))
        with pytest.raises(Crashed, match="before settle_all"):
            self.drain.run_once()
        self.cache.present = real


@pytest.fixture
def watching(world: World) -> Watching:
    return Watching(world)


def test_payments_of_remembered_accounts_are_posted_without_reading_or_locking_first(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10, description="lunch", metadata={"b": [1.5, "ü"], "a": 'quoted "\\'})
    world.accepted("alice", "bob", 5)
    assert watching.drained() == ["optimistic", "posted"]
    assert (world.booked("alice"), world.booked("bob")) == (984, 16)
    world.assert_proven()


def test_accounts_that_are_not_remembered_are_read_and_then_posted_optimistically_too(watching: Watching) -> None:
    world = watching.world
    world.account("carol")
    world.accepted("alice", "carol", 10)
    assert watching.drained() == ["optimistic", "posted"]
    assert world.booked("carol") == 10
    world.assert_proven()


def test_a_row_that_another_drain_has_changed_since_is_noticed_and_posted_under_locks(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10)
    world.drain(world.new_drain())
    world.accepted("alice", "bob", 5)
    assert watching.drained() == ["optimistic", "locked"]
    assert (world.booked("alice"), world.booked("bob")) == (984, 16)
    world.assert_proven()


@pytest.mark.parametrize("column", ["balance_minor", "version", "entry_count"])
def test_a_remembered_row_that_differs_in_any_column_is_not_written(watching: Watching, column: str) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10)
    world.tamper(f"UPDATE account_balance SET {column} = {column} + 1 WHERE account_id = 'bob'")
    assert watching.drained() == ["optimistic", "locked"]
    world.tamper(f"UPDATE account_balance SET {column} = {column} - 1 WHERE account_id = 'bob'")
    assert world.rows("SELECT count(*) FROM ledger_transaction WHERE external_id LIKE 'auto-%'") == [(2,)]


def test_funds_that_the_remembered_row_lacks_are_read_from_the_ledger(watching: Watching) -> None:
    """The floor was lowered meanwhile, and a remembered row alone refuses nothing."""
    world = watching.world
    world.tamper("UPDATE account_balance SET floor_minor = -500 WHERE account_id = 'alice'")
    world.warm("alice")
    hot_state.put(world.client, world.account_key("alice"), balance=999, floor=-500)
    world.accepted("alice", "bob", 1_200)
    assert watching.drained() == ["locked"]
    assert world.booked("alice") == -201


def test_a_floor_that_was_raised_since_is_guarded_by_the_ledger(watching: Watching) -> None:
    world = watching.world
    accepted = world.accepted("alice", "bob", 600)
    world.tamper("UPDATE account_balance SET floor_minor = 500 WHERE account_id = 'alice'")
    assert watching.drained() == ["optimistic", "locked"]
    assert (world.booked("alice"), world.booked("bob")) == (999, 1)
    assert world.history.rejected(accepted.payment_id) is not None


def test_a_posted_payment_is_only_settled_again(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10)
    watching.crash_before_settling()
    assert (world.booked("bob"), world.cached("alice").funds.held_minor) == (11, 10)
    assert watching.drained() == ["optimistic", "locked"]  # its own keys refuse it
    assert (world.booked("bob"), world.cached("alice").funds.held_minor) == (11, 0)
    world.assert_proven()


def test_a_crash_around_the_posting_loses_nothing_and_posts_nothing_twice(watching: Watching) -> None:
    world = watching.world
    for at, booked in ((1, 1), (2, 11)):
        world.accepted("alice", "bob", 10, f"crash-{at}")
        watching.ledger.present = Stepped(watching.session, CrashPoints(at), ("post",))
        with pytest.raises(Crashed, match="post"):
            watching.drain.run_once()
        assert world.booked("bob") == booked + (10 if at == 2 else 0)
        watching.ledger.present = watching.session
        watching.drained()
        assert world.booked("bob") == booked + 10
    world.assert_proven()


def test_a_rejected_payment_is_not_posted_when_it_is_delivered_again(watching: Watching) -> None:
    world = watching.world
    floor = "UPDATE account_balance SET floor_minor = {}, version = version + {} WHERE account_id = 'alice'"
    world.tamper(floor.format(-9_000, 1))
    world.accepted("alice", "bob", 1)
    assert watching.drained() == ["optimistic", "locked"]  # now it remembers the low floor
    world.tamper(floor.format(0, 0))
    world.warm("alice")
    hot_state.put(world.client, world.account_key("alice"), balance=5_000)  # a cache that is wrong
    rejected = world.accepted("alice", "bob", 4_000, "order-1")
    dying = world.new_drain(cache=Stepped(world.new_cache(), CrashPoints(at=1), ("settle_all",)))
    with pytest.raises(Crashed, match="before settle_all"):
        dying.run_once()
    world.tamper(floor.format(-9_000, 0))  # so it could be posted now
    assert watching.drained() == ["optimistic", "locked"]
    assert world.history.rejected(rejected.payment_id) is not None
    assert (world.booked("bob"), world.cached("alice").funds.held_minor) == (2, 0)


def test_an_external_id_of_an_authorization_is_not_posted_as_a_payment(watching: Watching) -> None:
    world = watching.world
    world.accepted("alice", "bob", 10, "order-1", manual_capture=True)
    assert watching.drained() == ["locked"]
    hot_state.forget_external_id(world.client, "order-1")
    world.accepted("alice", "bob", 10, "order-1")
    assert watching.drained()[-2:] == ["optimistic", "locked"]
    assert world.booked("bob") == 1


def test_a_row_that_is_locked_elsewhere_is_passed_over_and_counted(watching: Watching) -> None:
    world = watching.world
    world.account("hot")
    world.account("carol", balance_minor=50)
    world.accepted("alice", "hot", 1)
    watching.drained()
    world.accepted("alice", "bob", 10)
    world.accepted("carol", "hot", 5)
    with world.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM account_balance WHERE account_id = 'hot' FOR UPDATE")
        watching.ways.clear()
        report = watching.drain.run_once()
        assert (report.posted, report.deferred) == (1, 1)
        assert watching.ways == ["optimistic", "locked"]
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

    watching.ledger.present = Overridden(watching.session, post=overtaken)
    assert watching.drained() == ["optimistic", "locked"]
    assert world.conflicts() == {"alice": (1, 0)}
    assert world.booked("bob") == 11


def test_a_constraint_that_refuses_a_posting_is_left_to_locked_posting(watching: Watching) -> None:
    world = watching.world
    world.owner.execute("ALTER TABLE ledger_transaction ADD CONSTRAINT no_luck CHECK (description <> 'bad') NOT VALID")
    world.accepted("alice", "bob", 10)
    world.accepted("alice", "bob", 20, description="bad")
    assert watching.drained()[:2] == ["optimistic", "locked"]
    assert world.booked("bob") == 11
    world.assert_proven()


# While the next is planned


class Planned:
    """A drain of small batches that remembers every row, and this many full batches in the outbox."""

    def __init__(self, world: World, batches: int) -> None:
        self.ledger = Replaceable(world.new_posting_session())
        self.watched = Watched(self.ledger)
        self.cache = Replaceable(world.new_cache())
        self.drain: Drain = world.new_drain(cache=self.cache, ledger=self.watched, batch_limit=8)
        world.accepted("alice", "bob", 1)
        world.drain(self.drain)
        for _ in range(8 * batches):
            world.accepted("alice", "bob", 1)
        self.watched.ways.clear()


def test_a_full_batch_is_planned_while_the_one_before_is_being_written(watching: Watching) -> None:
    world = watching.world
    planned = Planned(world, 3)
    let_go, packed_meanwhile = Event(), []
    session = planned.ledger.present

    def slow(plan: Any) -> None:
        assert let_go.wait(timeout=PATIENCE_S)
        session.post(plan)

    def noted(plan: Any) -> Any:
        packed_meanwhile.append(not let_go.is_set())
        if len(packed_meanwhile) == 2:
            let_go.set()
        return session.pack(plan)

    planned.ledger.present = Overridden(session, post=slow, pack=noted)
    with planned.drain.turn() as partitions:
        assert [planned.drain.round(partitions).posted for _ in range(4)] == [8, 8, 8, 0]
    assert packed_meanwhile[:2] == [True, True]
    world.assert_proven()


def test_a_plan_that_follows_a_failed_posting_is_not_written(watching: Watching) -> None:
    world = watching.world
    planned = Planned(world, 3)
    world.tamper("UPDATE account_balance SET version = version + 1 WHERE account_id = 'alice'")
    with planned.drain.turn() as partitions:
        assert planned.drain.round(partitions).posted == 8
        assert planned.watched.ways == ["optimistic", "locked"]
        assert planned.drain.round(partitions).posted == 8
    assert world.booked("bob") == 2 + 24
    world.assert_proven()


def test_a_turn_that_ends_while_the_next_batch_is_being_written_settles_that_too(watching: Watching) -> None:
    world = watching.world
    drain = Planned(world, 2).drain
    with drain.turn() as partitions:
        assert drain.round(partitions).posted == 8
    assert sum(world.cache.outbox.backlog().values()) == 0
    world.assert_proven()


def failing_once(settle_all: Callable[[Any], None], calls: list[Any]) -> Callable[[Any], None]:
    """`settle_all`, whose first call fails."""

    def settle(settlements: Sequence[Any]) -> None:
        calls.append(settlements)
        if len(calls) == 1:
            raise Crashed("the first settle")
        settle_all(settlements)

    return settle


def test_a_batch_written_ahead_of_a_settle_that_failed_is_not_trimmed(watching: Watching) -> None:
    """Otherwise the holds of the batch before it would never be released."""
    world = watching.world
    planned = Planned(world, 3)
    cache, calls = planned.cache.present, []
    planned.cache.present = Overridden(cache, settle_all=failing_once(cache.outbox.settle_all, calls))

    def rounds() -> None:
        with planned.drain.turn() as partitions:
            for _ in range(3):
                planned.drain.round(partitions)

    with pytest.raises(Crashed):
        rounds()
    assert len(calls) == 1
    assert sum(world.cache.outbox.backlog().values()) == 24
    world.drain(world.new_drain())
    assert world.booked("bob") == 2 + 24
    world.assert_proven()
