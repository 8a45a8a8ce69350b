"""The replay of movements: each is counted once, by the ledger's answer."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from app.api.accounts import LARGEST_METADATA
from app.domain.bank_file import LARGEST_REMARKS, Movement
from app.domain.refusals import RefusalCode
from app.services.statements.replay import Replay, ReplayReport, ReplayStopped
from tests.world import World


def movement(transaction_id: str, amount_minor: int, *, line: int = 2, account_id: str = "a") -> Movement:
    """A credit, or a debit where the amount is negative."""
    booked_at = datetime(1993, 1, 1, tzinfo=UTC)
    return Movement(transaction_id, account_id, booked_at, amount_minor > 0, abs(amount_minor), {}, line)


def replay_over(world: World, sleep: Callable[[float], None] | None = None) -> Replay:
    """A replay during whose waits the ledger posts."""
    return Replay(
        world.accounts,
        world.payments,
        world.cache,
        world.history,
        currency_code="EUR",
        monotonic=world.clock,
        sleep=sleep or (lambda _: world.drain()),
    )


def played(replay: Replay, movements: Sequence[Movement]) -> ReplayReport:
    replay.open_accounts({one.account_id: None for one in movements}, 0)
    report, number = ReplayReport(), 0
    for played_now, so_far in replay.run(movements):
        report, number = so_far, number + played_now
    assert report.movements == number == len(movements)
    return report


def test_a_movement_is_posted_repeated_or_refused(world: World) -> None:
    file = [movement("1", 50), movement("1", 50), movement("2", -80), movement("1", 51, line=5), movement("3", -10)]
    report = played(replay_over(world), file)
    assert (report.posted, report.repeated) == (2, 1)
    assert report.refused == {RefusalCode.INSUFFICIENT_FUNDS: 1, RefusalCode.EXTERNAL_ID_REUSED: 1}
    assert report.in_ledger == {"1", "3"}
    assert [(line, refusal.code) for line, refusal in report.refused_for_content] == [
        (5, RefusalCode.EXTERNAL_ID_REUSED)
    ]
    assert world.reconcile().breaks == []


def test_movements_that_the_cache_has_forgotten_are_repeated_or_refused_by_the_ledger(world: World) -> None:
    file = [movement("1", 50), movement("2", 20), movement("3", -70)]
    assert played(replay_over(world), file).posted == 3
    world.client.flushdb()
    changed = [*file[:1], movement("2", 21, line=3), *file[2:], movement("4", 5)]
    report = played(replay_over(world), changed)
    assert (report.posted, report.repeated) == (1, 2)
    assert report.refused == {RefusalCode.EXTERNAL_ID_REUSED: 1}
    assert report.in_ledger == {"1", "3", "4"}
    [(line, _)] = report.refused_for_content
    assert line == 3
    assert world.reconcile().breaks == []


def test_a_replay_stops_where_later_movements_would_miss_earlier_ones(world: World) -> None:
    world.cache.client.backlog_limit = 1
    with pytest.raises(ReplayStopped, match="continues where it stopped"):
        played(replay_over(world), [movement(str(number), 1) for number in range(9)])


def test_a_replay_does_not_wait_for_ever(world: World) -> None:
    with pytest.raises(ReplayStopped, match="drain worker"):
        played(replay_over(world, world.clock.sleep), [movement("1", 1)])


def test_remarks_may_be_as_large_as_the_metadata_of_the_api() -> None:
    assert LARGEST_REMARKS == LARGEST_METADATA
