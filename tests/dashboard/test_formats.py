"""Times as pages write them."""

from datetime import UTC, datetime, timedelta

import pytest
from markupsafe import Markup

from app.dashboard.formats import bound, due, near

NOW = datetime(2026, 1, 31, 9, 30, 15, 250_000, UTC)
TOMORROW = NOW + timedelta(days=1)


def plain(told: Markup) -> str:
    return told.striptags()


def test_a_time_has_its_day_unless_it_is_today() -> None:
    assert plain(near(NOW, NOW)) == "09:30:15.250 UTC"
    assert plain(near(TOMORROW, NOW, "")) == "2026-02-01 09:30:15.250"
    assert plain(due(NOW, NOW)) == "09:30 UTC"
    assert plain(due(TOMORROW, NOW)) == "2026-02-01 09:30 UTC"
    assert 'datetime="2026-01-31T09:30:15.250Z"' in near(NOW, NOW), "exact for a program"


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01"),
        (datetime(2026, 1, 31, 23, 59, 59, 999_000, UTC), "the end of 2026-01-31"),
        (NOW, "2026-01-31 09:30:15.250 UTC"),
    ],
)
def test_a_whole_day_bounds_a_period_by_its_date(at: datetime, told: str) -> None:
    assert plain(bound(at)) == told
