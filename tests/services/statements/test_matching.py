"""A month with twenty planted errors: exactly those have no match, each with the right reason, in every format.

The month is made up, or what the replay of bank movements has posted.
"""

from collections.abc import Iterator

import pytest

from tests.movements import REAL_FILE, read, synthetic
from tests.services.statements.desk import Desk
from tests.services.statements.replayed_month import planted_by_replay
from tests.statements.month import FILES, MOVEMENTS, Month, planted_month
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
    assert_only_the_planted_have_no_match(desk, month, format)
    assert desk.reads.counts(desk.account().statement_account_id)[0] == MOVEMENTS - 9, (
        "those without the missing and the differing ones"
    )


@pytest.mark.parametrize("format", FILES)
def test_so_it_is_with_what_the_replay_has_posted(world: World, format: str) -> None:
    desk = Desk(world)
    month = planted_by_replay(desk, synthetic("month", 300, 20))
    assert_only_the_planted_have_no_match(desk, month, format)


@pytest.mark.skipif(not REAL_FILE.exists(), reason=f"the real movements are not here ({REAL_FILE.name})")
@pytest.mark.parametrize("format", FILES)
def test_so_it_is_with_a_month_of_the_real_movements(world: World, format: str) -> None:
    desk = Desk(world)
    month = planted_by_replay(desk, [row for row in read(REAL_FILE) if row["date"].startswith("1993-06")])
    assert_only_the_planted_have_no_match(desk, month, format)


def assert_only_the_planted_have_no_match(desk: Desk, month: Month, format: str) -> None:
    """The statement is imported and matched by reference, and a second run changes nothing."""
    assert desk.take_month(month, format).breaks == []
    desk.link(rules=[])
    report = desk.match()
    assert desk.reasons() == month.planted
    assert len(desk.unmatched()) == 20
    only_in_ledger = sum(reason in ("missing_there", "timing") or "again" in name for reason, name in month.planted)
    differing = sum(reason == "amount_differs" for reason, _ in month.planted)
    assert report.matched == len(month.payments) - only_in_ledger - differing
    assert report.by_rule == {"By reference": report.matched}
    again = desk.match()
    assert (again.matched, again.new_breaks, again.resolved_breaks) == (0, 0, 0)
    assert desk.reasons() == month.planted
