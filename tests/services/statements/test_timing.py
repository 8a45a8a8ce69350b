"""The suggested reason `timing`: a line has it only while the ledger may yet have its entry."""

from datetime import date

from tests.services.statements.desk import Desk
from tests.statements.month import Month, Movement, Stated
from tests.world import World

NEWEST = date(2026, 1, 5)
LATER = date(2026, 1, 20)


def test_a_line_waits_for_the_ledger_only_while_the_ledger_may_yet_have_it(world: World) -> None:
    desk = Desk(world)
    desk.open_accounts()
    [(today,)] = world.rows("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")
    desk.pay([Movement("a-1", NEWEST, 500, "customer:1")])
    lines = [
        Stated("1", NEWEST, 500, "a-1", "x"),
        Stated("2", LATER, 700, "gone-1", "x"),
        Stated("3", today, 900, "new-1", "x"),
    ]
    desk.take_month(Month(lines=lines, last=today), "camt")
    desk.link(rules=[])
    desk.match()
    # January has just been brought in, so the ledger has come as far as its newest entry.
    assert desk.reasons() == {("timing", f"gone-1 {LATER}"), ("timing", f"new-1 {today}")}
    # Had it come days ago, the ledger would have had the time for what is missing since.
    world.tamper("UPDATE entry SET posted_at = posted_at - interval '4 days'")
    assert desk.match().new_breaks == 0
    assert desk.reasons() == {("missing_here", f"gone-1 {LATER}"), ("timing", f"new-1 {today}")}


def test_without_an_entry_only_the_last_days_may_be_early(world: World) -> None:
    desk = Desk(world)
    desk.open_accounts()
    [(today,)] = world.rows("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")
    world.tamper("UPDATE ledger_transaction SET effective_at = '2020-01-01 00:00+00'")
    lines = [Stated("1", LATER, 500, "gone-1", "x"), Stated("2", today, 900, "new-1", "x")]
    desk.take_month(Month(lines=lines, last=today), "camt")
    desk.link(rules=[])
    desk.match()
    assert desk.reasons() == {("missing_here", f"gone-1 {LATER}"), ("timing", f"new-1 {today}")}
