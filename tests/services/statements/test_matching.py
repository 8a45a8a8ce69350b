"""A month with twenty planted errors: exactly those have no match, each with the right reason, in every format."""

from collections.abc import Iterator

import pytest

from tests.services.statements.desk import Desk
from tests.statements.month import FILES, MOVEMENTS, planted_month
from tests.world import World


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = Desk(world)
    desk.open_accounts()
    return desk


@pytest.mark.parametrize("format", FILES)
def test_exactly_the_planted_errors_have_no_match_and_each_has_the_right_reason(desk: Desk, format: str) -> None:
    month = planted_month()
    desk.pay(month.payments)
    assert desk.take_month(month, format).breaks == []
    desk.link(rules=[])
    report = desk.match()
    assert desk.reasons() == month.planted
    assert len(desk.unmatched()) == 20
    assert report.matched == MOVEMENTS - 9, "those without the missing and the differing ones"
    assert report.by_rule == {"By reference": report.matched}
    again = desk.match()
    assert (again.matched, again.new_breaks, again.resolved_breaks) == (0, 0, 0)
    assert desk.reasons() == month.planted
