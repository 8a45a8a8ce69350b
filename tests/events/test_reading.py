"""Reading the feed costs what is read: onwards and back, and by who wants little of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.domain.events import BEGINNING, EventType, Wanted, after_all_of
from app.ledger import events
from app.ledger.engine import rows_of
from app.ledger.events import EventFeed, Rows
from tests.events.world import feed_of, read
from tests.world import World


class Told:
    """Runs statements, and remembers what they name and find."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.looked_at: list[int] = []
        self._found: list[tuple[str, int]] = []

    def __call__(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        if "firsts" in parameters:
            self.looked_at.append(sum(parameters["lasts"]) - sum(parameters["firsts"]) + len(parameters["lasts"]))
        found = self._rows(query, parameters)
        self._found.append((query, len(found)))
        return found

    def of_table(self, name: str) -> int:
        """How many rows the statements about a table have found."""
        return sum(number for query, number in self._found if name in query)


WANTED = (
    Wanted(),
    Wanted(account_id="bob"),
    Wanted(types={EventType.PAYMENT_POSTED}),
    Wanted(types={EventType.BALANCE_UPDATED}, entities={"default"}),
    Wanted(types={EventType.PAYMENT_AUTHORIZED}, account_id="bob"),
)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("looked_at", [2, 20_000])
def test_the_feed_tells_backwards_what_it_tells_onwards(
    world: World, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, looked_at: int
) -> None:
    monkeypatch.setattr(events, "LOOKED_AT", looked_at)
    feed = feed_of(world)
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    for size in (1, 3, 2):
        for _ in range(size):
            world.accepted("alice", "bob", 1)
        world.accepted("alice", "bob", 1, manual_capture=True)
        world.drain()
    whole = [one.event_id for one in read(feed, wanted=wanted)]
    assert len(whole) > 2
    for limit in (1, 2, 5, 1_000):
        assert [one.event_id for one in read(feed, wanted=wanted, limit=limit)] == whole
        place, is_end, met = after_all_of(feed.head()), False, list[str]()
        while not is_end:
            page = feed.before(place, limit, wanted)
            met += [one.event_id for one in page.events]
            assert page.cursor < place
            place, is_end = page.cursor, page.is_end
        assert met == whole[::-1]


@pytest.mark.parametrize("wanted", [Wanted(account_id="nobody"), Wanted(types={EventType.PAYMENT_REFUNDED})])
def test_who_wants_nothing_of_the_log_does_not_read_all_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, wanted: Wanted
) -> None:
    monkeypatch.setattr(events, "LOOKED_AT", 5)
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    for _ in range(4):
        for _ in range(5):
            world.accepted("alice", "bob", 1)
        world.drain()
    told = Told(rows_of(world.engine))
    feed = EventFeed(told)
    end = after_all_of(feed.sequence())
    for page in (feed.page(BEGINNING, 2, wanted), feed.before(end, 2, wanted)):
        assert (page.events, page.is_end) == ([], False)
        assert BEGINNING < page.cursor < end, "it goes on from there"
    assert not told.of_table("FROM entry"), "nor an entry of a transaction that it does not want"
    assert max(told.looked_at) <= 5
