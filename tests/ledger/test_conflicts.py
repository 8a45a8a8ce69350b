"""Conflicts by account and hour: added up, bounded in number, forgotten after a month."""

from app.domain.heat import OTHERS
from app.ledger.conflicts import MOST_ACCOUNTS
from tests.world import World

HOURS = "SELECT account_id, retries, exhausted, queued_us, longest_us FROM conflict_hour ORDER BY account_id"


def test_retries_and_waits_of_an_hour_add_up_by_account(world: World) -> None:
    conflicts = world.new_posting_session().conflicts
    conflicts.count(["alice", "bob"], retries=1, exhausted=0)
    conflicts.count(["alice"], retries=2, exhausted=1)
    conflicts.count_waits({"alice": 0.25, "carol": 0.001})
    conflicts.count_waits({"alice": 0.1})
    assert world.rows(HOURS) == [
        ("alice", 3, 1, 350_000, 250_000),
        ("bob", 1, 0, 0, 0),
        ("carol", 0, 0, 1_000, 1_000),
    ]
    assert world.conflicts() == {"alice": (3, 1), "bob": (1, 0)}, "waits are no retries"


def test_accounts_beyond_the_bound_are_added_up_together(world: World) -> None:
    conflicts = world.new_posting_session().conflicts
    conflicts.count([f"a{number:03}" for number in range(MOST_ACCOUNTS)], retries=1, exhausted=0)
    conflicts.count(["a000", "late", "later"], retries=2, exhausted=0)
    found = {row[0]: row[1] for row in world.rows(HOURS)}
    assert len(found) == MOST_ACCOUNTS + 1
    assert (found["a000"], found[OTHERS]) == (3, 4)


def test_hours_of_more_than_a_month_ago_are_forgotten(world: World) -> None:
    world.owner.execute(
        "INSERT INTO conflict_hour (hour, account_id, retries) VALUES"
        " (now() - interval '32 days', 'old', 1), (now() - interval '30 days', 'kept', 1)"
    )
    world.new_posting_session().conflicts.count(["new"], retries=1, exhausted=0)
    assert [row[0] for row in world.rows(HOURS)] == ["kept", "new"]


def test_a_drain_that_waited_for_a_locked_account_counts_how_long(world: World) -> None:
    world.account("alice", balance_minor=1_000)
    world.account("shop")
    world.accepted("alice", "shop", 10)
    drain = world.new_drain()
    with world.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM account_balance WHERE account_id = 'shop' FOR UPDATE")
        drain.run_once()
    world.clock.sleep(2.0)
    world.drain(drain)
    [(retries, queued_us)] = world.rows("SELECT retries, queued_us FROM conflict_hour WHERE account_id = 'shop'")
    assert retries >= 1
    assert queued_us >= 2_000_000
