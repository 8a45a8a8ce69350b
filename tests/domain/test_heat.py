"""The heat map: rows by heat, shades by steps, sums."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.heat import ConflictHour, Heat, heat_map, level_of

NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)
TEN = NINE + timedelta(hours=1)


@pytest.mark.parametrize(("value", "level"), [(0, 0), (1, 1), (5, 1), (6, 2), (15, 2), (40, 3), (100, 4), (101, 5)])
def test_a_shade_has_its_steps(value: int, level: int) -> None:
    assert level_of(value, Heat.RETRIES) == level


def test_rows_come_with_the_hottest_first_and_the_others_are_counted() -> None:
    counted = [
        ConflictHour(NINE, "cold", 1),
        ConflictHour(NINE, "hot", 3, exhausted=1, queued_us=2_000, longest_us=1_500),
        ConflictHour(TEN, "hot", 4, queued_us=600, longest_us=600),
    ]
    found = heat_map(counted, Heat.RETRIES, [NINE, TEN], 1)
    assert [(row.account_id, [cell.retries for cell in row.cells], row.total) for row in found.rows] == [
        ("hot", [3, 4], 7)
    ]
    assert (found.further, found.total, found.retries) == (1, 7, 8)
    assert (found.sum_of(NINE), found.sum_of(TEN)) == (3, 4)
    assert [one.account_id for one in found.given_up] == ["hot"]
    assert found.longest is counted[1]
    assert heat_map(counted, Heat.QUEUEING, [NINE, TEN], 1).rows[0].total == 3


def test_a_day_without_conflicts_is_empty() -> None:
    found = heat_map([], Heat.RETRIES, [NINE], 10)
    assert (found.rows, found.total, found.longest) == ([], 0, None)
