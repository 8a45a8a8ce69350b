"""What events tell of one account's funds, read by the account's own entries: however much else happens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.domain.events import Cursor
from app.domain.monitors import BalanceNews
from app.ledger.event_rows import balance_event
from app.ledger.events import EventFeed

Rows = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]

NEWS_AT_ONCE = 10_000
"""Entries of an account that are read together: more than one posting batch can have of it."""

# One statement, so of one moment. The entries of an account get their positions in their order, so those that have one
# are all up to the last that has one.
_NEWS = """
WITH told AS (
    SELECT l.position, e.chain_seq - l.first_seq AS part, e.leg + 1 AS slot,
        'evt_' || e.partition || '_' || e.chain_seq || '_' || e.leg AS event_id, e.entry_number, e.balance_minor,
        e.posted_at AS at, true AS is_entry, n.posted_at IS DISTINCT FROM e.posted_at AS is_last
    FROM (SELECT * FROM entry WHERE account_id = %(account)s AND entry_number > %(entry_number)s
        ORDER BY entry_number LIMIT %(limit)s) e
    JOIN LATERAL (SELECT position, first_seq FROM event_log l WHERE l.kind = 'chain' AND l.partition = e.partition
        AND l.last_seq >= e.chain_seq ORDER BY l.last_seq LIMIT 1) l ON l.first_seq <= e.chain_seq
    LEFT JOIN entry n ON n.account_id = e.account_id AND n.entry_number = e.entry_number + 1
    UNION ALL
    SELECT h.position, 0, 1, 'evt_hold_' || l.source_id || '_b', h.entry_number, h.balance_minor, v.recorded_at, false,
        true
    FROM event_held h JOIN event_log l USING (position)
    JOIN hold_event v ON v.hold_event_id = l.source_id::bigint
    WHERE h.account_id = %(account)s AND h.position > %(position)s AND h.is_told
)
SELECT t.position, t.part, t.slot, t.event_id, t.entry_number, t.balance_minor, t.at, t.is_entry,
    coalesce(h.held_minor, 0), coalesce(h.changes, 0)
FROM told t LEFT JOIN LATERAL (SELECT held_minor, changes FROM event_held h
    WHERE h.account_id = %(account)s AND h.position <= t.position ORDER BY h.position DESC LIMIT 1) h ON true
WHERE t.is_last AND (t.is_entry OR t.position <= coalesce(
    (SELECT max(position) FROM told WHERE is_entry HAVING count(*) = %(limit)s), t.position))
ORDER BY t.position, t.part, t.slot
"""


class AccountEvents:
    """Reads the balances that events tell of an account."""

    def __init__(self, rows: Rows, feed: EventFeed) -> None:
        self._rows = rows
        self._feed = feed

    def sequence(self) -> int:
        """Give positions to what has none; returns the last position."""
        return self._feed.sequence()

    def balances(self, account_id: str, entry_number: int, position: int) -> list[BalanceNews]:
        """What was told after an entry, and of what is held after a position, in order."""
        parameters = {
            "account": account_id,
            "entry_number": entry_number,
            "position": position,
            "limit": NEWS_AT_ONCE,
        }
        rows = self._rows(_NEWS, parameters)
        if not rows:
            return []
        facts = self._feed.facts([account_id], rows[0][0])[account_id]
        return [
            BalanceNews(
                one[0],
                one[4] if one[7] else None,
                balance_event(Cursor(*one[:3]), one[3], account_id, one[6], one[4] + one[9], one[5], one[8], facts),
            )
            for one in rows
        ]
