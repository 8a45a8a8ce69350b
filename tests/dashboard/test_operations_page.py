"""Operations: whether payments are taken, what waits, and the heat map of hot accounts."""

import csv
import io

import pytest

from tests.api.world import BANK
from tests.dashboard.world import Browser, World, rows_of, text_of


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    """Two accounts; conflicts of yesterday in two hours, one of which was given up."""
    world = shared_world
    world.account(BANK, "asset")
    world.account("wallet:ada")
    world.pay(BANK, "wallet:ada", 500)
    world.sql(
        """INSERT INTO conflict_hour (hour, account_id, retries, exhausted, queued_us, longest_us) VALUES
        (date_trunc('day', now()) - interval '15 hours', 'wallet:ada', 7, 1, 260000, 212000),
        (date_trunc('day', now()) - interval '15 hours', 'fees:card', 143, 0, 90000, 9000),
        (date_trunc('day', now()) - interval '14 hours', 'wallet:ada', 2, 0, 1000, 1000)"""
    )
    return world


def yesterday(world: World) -> str:
    [(day,)] = world.sql("SELECT to_char(date_trunc('day', now()) - interval '1 day', 'YYYY-MM-DD')")
    return str(day)


def test_the_page_says_what_waits_and_in_which_partition(viewer: Browser) -> None:
    page = viewer.page("/operations")
    assert "1 intent waits for the ledger, the oldest for" in text_of(page)
    waiting = [row for row in rows_of(page, 'id="partitions"')[1:] if row[3] == "1"]
    assert len(waiting) == 1
    assert waiting[0][4] != ""
    assert rows_of(page, 'id="partitions"')[-1][0] == "journals"


def test_every_check_of_readiness_is_there(world: World, viewer: Browser) -> None:
    checks = [row[0] for row in rows_of(viewer.page("/operations"), 'id="checks"')[1:]]
    assert checks == [name.replace("_", " ") for name in world.services.readiness.look().checks]


def test_connections_are_listed_by_what_they_are_for(viewer: Browser) -> None:
    assert "pages" in [row[0] for row in rows_of(viewer.page("/operations"), 'id="sessions"')]


def test_the_heat_map_has_a_row_for_each_account_and_a_column_for_each_hour(world: World, viewer: Browser) -> None:
    page = viewer.page(f"/operations?day={yesterday(world)}")
    head, fees, ada, total = rows_of(page, 'id="map"')
    assert head[1:-1] == [f"{hour:02}" for hour in range(24)]
    assert (fees[0], fees[10], fees[-1]) == ("fees:card", "143", "143")
    assert (ada[0], ada[10], ada[11], ada[-1]) == ("wallet:ada", "7, gave up", "2", "9")
    assert (total[10], total[-1]) == ("150", "152")
    assert '<td data-level="2" class="exhausted">7<span class="visually-hidden">, gave up</span></td>' in page
    assert '<td data-level="5">143</td>' in page
    assert "1 gave up" in text_of(page)
    assert "212 ms" in text_of(page)


def test_the_heat_map_shows_queueing_and_some_accounts(world: World, viewer: Browser) -> None:
    page = viewer.page(f"/operations?day={yesterday(world)}&what=queueing&account_id=wallet:")
    _, ada, total = rows_of(page, 'id="map"')
    assert (ada[10], ada[11], total[-1]) == ("260, gave up", "1", "261")


def test_a_day_without_conflicts_says_so(viewer: Browser) -> None:
    assert "No posting had to wait for another" in text_of(viewer.page("/operations?day=2020-02-03"))
    assert "is not a day" in viewer.page("/operations?day=soon")


def test_the_export_has_what_was_counted(world: World, viewer: Browser) -> None:
    text = viewer.get(f"/operations?day={yesterday(world)}&format=csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["account_id"], row["retries"], row["longest_ms"]) for row in rows] == [
        ("fees:card", "143", "9"),
        ("wallet:ada", "7", "212"),
        ("wallet:ada", "2", "1"),
    ]
