"""Reading the feed as a consumer does, and what it must hold."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from app.domain.events import BEGINNING, Cursor, Event, EventType, Wanted
from app.ledger.engine import rows_of
from app.ledger.events import EventFeed
from tests.world import World

EVERYTHING = Wanted()


def feed_of(world: World) -> EventFeed:
    """The feed over connections of the test's own."""
    return EventFeed(rows_of(world.engine))


def read(feed: EventFeed, after: Cursor = BEGINNING, wanted: Wanted = EVERYTHING, limit: int = 1_000) -> list[Event]:
    """Every event after a cursor that is committed by now, by pages."""
    feed.sequence()
    found: list[Event] = []
    is_end = False
    while not is_end:
        page = feed.page(after, limit, wanted)
        found += page.events
        after, is_end = page.cursor, page.is_end
    return found


def told(events: Iterable[Event]) -> list[tuple[str, str]]:
    """What events tell, in short."""
    return [(one.type.value, one.subject) for one in events]


EXPECTED = """
SELECT 'evt_' || partition || '_' || chain_seq FROM ledger_transaction
UNION ALL SELECT 'evt_hold_' || hold_event_id FROM hold_event WHERE state <> 'captured'
UNION ALL SELECT 'evt_rejected_' || payment_id FROM payment_rejection WHERE intent ->> 'kind' <> 'journal_hold'
UNION ALL SELECT 'evt_account_' || audit_event_id FROM audit_event WHERE action IN ('account.create', 'account.change')
UNION ALL SELECT 'evt_break_' || event_id FROM (
    SELECT event_id, state IN ('resolved', 'accepted') AS is_settled,
        lag(state IN ('resolved', 'accepted')) OVER (PARTITION BY break_id ORDER BY event_id) AS was_settled
    FROM reconciliation_break_event
) b WHERE is_settled IS DISTINCT FROM was_settled
"""


def assert_complete(world: World, events: Iterable[Event]) -> None:
    """These are all events of the ledger, each once, those of each account and each chain in their order."""
    events = list(events)
    ids = Counter(one.event_id for one in events)
    assert [one for one, times in ids.items() if times > 1] == []
    expected = {row[0] for row in world.rows(EXPECTED)}
    balances = {one.event_id for one in events if one.type is EventType.BALANCE_UPDATED}
    assert ids.keys() - balances == expected
    _assert_balances(world, [one for one in events if one.type is EventType.BALANCE_UPDATED])
    chains: dict[str, list[int]] = defaultdict(list)
    for event_id in (one.event_id.split("_") for one in events if one.event_id not in balances):
        if event_id[1].isdecimal():
            chains[event_id[1]].append(int(event_id[2]))
    for numbers in chains.values():
        assert numbers == sorted(numbers)


def _assert_balances(world: World, events: Iterable[Event]) -> None:
    """One for each account and posting batch, in order, and the last one tells what the ledger has now."""
    versions: dict[str, list[int]] = defaultdict(list)
    last: dict[str, Any] = {}
    for one in events:
        versions[one.subject].append(one.version)
        last[one.subject] = one.data
    for account_id, numbers in versions.items():
        assert numbers == sorted(set(numbers)), account_id
    batches = world.rows("SELECT account_id, count(DISTINCT posted_at) FROM entry GROUP BY account_id")
    for account_id, count in batches:
        assert len(versions[account_id]) >= count, account_id
    now = world.rows(
        """SELECT account_id, balance_minor, coalesce((SELECT sum(hold_minor) FROM hold
            WHERE guarded_account_id = account_id AND state = 'authorized'), 0), floor_minor
        FROM account_balance WHERE account_id = ANY(%s)""",
        list(last),
    )
    for account_id, balance_minor, held_minor, floor_minor in now:
        figures = balance_minor, held_minor, balance_minor - held_minor - (floor_minor or 0)
        data = last[account_id]
        assert (data["balance_minor"], data["held_minor"], data["available_minor"]) == figures, account_id
