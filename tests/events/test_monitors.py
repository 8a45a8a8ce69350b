"""Balance monitors: one event each time that a condition turns, whatever happened between."""

from app.domain.events import EventType, Wanted
from app.domain.monitors import Comparison, Measure, NewMonitor
from app.ledger.account_events import AccountEvents
from app.ledger.engine import rows_of
from app.ledger.events import EventFeed
from app.ledger.monitors import LedgerMonitors
from app.services.events.monitors import MonitorFollower, Monitors
from tests.events.world import feed_of, read
from tests.world import World

CROSSINGS = Wanted(types=frozenset({EventType.MONITOR_CROSSED}))


def follower_of(world: World) -> MonitorFollower:
    rows = rows_of(world.engine)
    return MonitorFollower(LedgerMonitors(world.engine), AccountEvents(rows, EventFeed(rows)))


def below(world: World, threshold_minor: int, measure: Measure = Measure.AVAILABLE) -> str:
    new = NewMonitor("alice", measure, Comparison.BELOW, threshold_minor, "float")
    made = Monitors(LedgerMonitors(world.engine)).create(new, "key:test")
    assert made is not None
    return made.monitor_id


def crossings(world: World) -> list[tuple[str, bool, int]]:
    return [
        (str(one.data["monitor_id"]), bool(one.data["is_met"]), int(one.data["value_minor"]))
        for one in read(feed_of(world), wanted=CROSSINGS)
    ]


def test_a_crossing_is_told_once_and_again_when_it_turns_back(world: World) -> None:
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    monitor_id = below(world, 500)
    follower = follower_of(world)
    for amount_minor in (300, 300, 100):
        world.accepted("alice", "bob", amount_minor)
        world.drain()
        follower.run_once()
    assert crossings(world) == [(monitor_id, True, 400)]
    world.fund("alice", 1_000)
    follower.run_once()
    assert crossings(world) == [(monitor_id, True, 400), (monitor_id, False, 1_300)]
    assert follower.run_once() == 0


def test_a_follower_that_was_away_misses_no_crossing(world: World) -> None:
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    monitor_id = below(world, 500)
    for _ in range(2):
        world.accepted("alice", "bob", 800)
        world.drain()
        world.fund("alice", 800)
    follower_of(world).run_once()
    assert crossings(world) == [
        (monitor_id, True, 200),
        (monitor_id, False, 1_000),
        (monitor_id, True, 200),
        (monitor_id, False, 1_000),
    ]


def test_what_is_held_counts(world: World) -> None:
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    available = below(world, 500)
    new = NewMonitor("alice", Measure.HELD, Comparison.ABOVE, 599)
    held = Monitors(LedgerMonitors(world.engine)).create(new, "key:test")
    assert held is not None
    follower = follower_of(world)
    kept = world.accepted("alice", "bob", 600, manual_capture=True)
    world.drain()
    follower.run_once()
    assert sorted(crossings(world)) == sorted([(available, True, 400), (held.monitor_id, True, 600)])
    world.authorizations.void(kept.outbox_position.payment_id, "key:test")
    world.drain()
    follower.run_once()
    assert sorted(crossings(world)[2:]) == sorted([(available, False, 1_000), (held.monitor_id, False, 0)])


def test_a_condition_that_holds_already_is_told_only_when_it_turns(world: World) -> None:
    world.account("alice", balance_minor=100)
    world.account("bob")
    monitor_id = below(world, 500)
    follower = follower_of(world)
    world.accepted("alice", "bob", 1)
    world.drain()
    follower.run_once()
    assert crossings(world) == []
    world.fund("alice", 1_000)
    follower.run_once()
    assert crossings(world) == [(monitor_id, False, 1_099)]


def test_two_followers_tell_a_crossing_once(world: World) -> None:
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    monitor_id = below(world, 500)
    first, second = LedgerMonitors(world.engine), LedgerMonitors(world.engine)
    world.accepted("alice", "bob", 900)
    world.drain()
    rows = rows_of(world.engine)
    events = AccountEvents(rows, EventFeed(rows))

    class Late(LedgerMonitors):
        """One that has looked before the other wrote."""

        def with_news(self) -> list[object]:  # type: ignore[override]
            found = first.with_news()
            MonitorFollower(second, events).run_once()
            return list(found)

    MonitorFollower(Late(world.engine), events).run_once()
    assert crossings(world) == [(monitor_id, True, 100)]


def test_an_ended_monitor_tells_nothing_more(world: World) -> None:
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    monitor_id = below(world, 500)
    monitors = Monitors(LedgerMonitors(world.engine))
    ended = monitors.end(monitor_id, "key:test", None)
    assert ended is not None
    assert ended.ended_at is not None
    assert monitors.end(monitor_id, "key:test", None) == ended
    world.accepted("alice", "bob", 900)
    world.drain()
    assert follower_of(world).run_once() == 0
    assert crossings(world) == []
