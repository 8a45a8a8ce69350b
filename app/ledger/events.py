"""The order of events, and reading them.

No event is stored. `event_log` keeps an order only: a position for each posting batch in each chain, and one for each
row that belongs to no chain (a change of an account or of an authorization, a rejection, a break). What an event says
is read from the rows that its position names.

Why nothing is skipped and nothing told twice, whatever commits late:

- A position is given after the commit. `sequence_events` looks at one snapshot and gives positions to what it sees, so
  an open transaction has none; when it commits, what it wrote gets later positions, however long it took.
- It finds everything that has none. A transaction of a chain: chains have no gap, and their heads are locked while they
  grow, so what a snapshot sees of a chain is all of it up to the head; `event_chain` says up to where it has positions.
  A row without a chain: a trigger writes its notice in the transaction of the row, and `sequence_events` takes notices
  away with the same statement that gives them positions. It compares no ids and no times with a watermark.
- One at a time gives positions: it locks the row of `event_head` and adds to the number there. So positions have no
  gap, and they become visible in their order. A reader that sees one sees all before it.
- Positions are never changed, and the rows that they name are never changed in what an event says of them. So every
  reader meets the same events in the same order, today and in a year, and a cursor may be kept for ever.

Why the order is right: transactions of one chain keep their order, because their times never run backwards, and so do
the entries of one account over all chains: its row is locked while it is posted to, so a snapshot that sees an entry
sees those before it, and within a snapshot positions follow the time of posting, which does not run backwards for an
account either. Batches of different accounts in different chains have no order of their own.

Posting pays one small row for each change of an authorization or rejection, written by the same statement, and nothing
for a payment.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from app.domain.errors import LedgerUnavailable
from app.domain.events import BEGINNING, WHOLE, Cursor, Event, EventPage, EventType, Wanted
from app.ledger.event_ranges import Range, place_beside, stretch_after, stretch_before
from app.ledger.event_rows import MOVED_BY, AccountFacts, balance_event, transaction_event
from app.ledger.event_sources import TOLD_BY, events_without_chain

log = logging.getLogger(__name__)

Rows = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Runs one statement in a transaction of its own (`rows_of`)."""

SEQUENCED_AT_ONCE = 5_000
"""Transactions of each chain that get positions in one statement, which takes a fraction of a second then."""

EVERYTHING = Wanted()

LOOKED_AT = 20_000
"""Transactions that one call looks through for a reader who wants only some events: a tenth of a second or so."""

WIDER = 8
"""How many times more it looks through where the first ones had too few: who wants most events has a page in those."""

_SEQUENCE = "SELECT sequence_events(%(most)s)"
_HEAD = "SELECT position FROM event_head"
_AFTER = """
SELECT position, kind, partition, first_seq, last_seq, source_id, account_id FROM event_log
WHERE position >= %(place)s ORDER BY position LIMIT %(limit)s
"""
_BEFORE = """
SELECT position, kind, partition, first_seq, last_seq, source_id, account_id FROM event_log
WHERE position <= %(place)s ORDER BY position DESC LIMIT %(limit)s
"""
_RANGES = """
FROM unnest(%(positions)s::bigint[], %(partitions)s::smallint[], %(bases)s::bigint[], %(firsts)s::bigint[],
    %(lasts)s::bigint[]) AS r (position, partition, base, first, last)
"""
# Transactions of which a reader wants something. Each OFFSET 0 keeps to the range: an account's own index would lead
# through all of its entries, for each range again.
_PICKED = f"""
SELECT r.position, r.partition, r.base, t.chain_seq {_RANGES} CROSS JOIN LATERAL (
    SELECT chain_seq, kind, entity_id FROM ledger_transaction t
    WHERE t.partition = r.partition AND t.chain_seq BETWEEN r.first AND r.last OFFSET 0
) t WHERE (%(kinds)s::text[] IS NULL OR t.kind = ANY(%(kinds)s::text[]))
    AND (%(entities)s::text[] IS NULL OR t.entity_id = ANY(%(entities)s::text[]))
"""  # noqa: S608 - a part of ours
_PICKED_OF_ACCOUNT = f"""
SELECT DISTINCT r.position, r.partition, r.base, e.chain_seq {_RANGES} CROSS JOIN LATERAL (
    SELECT chain_seq, account_id FROM entry e
    WHERE e.partition = r.partition AND e.chain_seq BETWEEN r.first AND r.last OFFSET 0
) e CROSS JOIN LATERAL (
    SELECT kind, entity_id FROM ledger_transaction t
    WHERE t.partition = r.partition AND t.chain_seq = e.chain_seq OFFSET 0
) t WHERE e.account_id = %(account)s::text
    AND (%(kinds)s::text[] IS NULL OR t.kind = ANY(%(kinds)s::text[]))
    AND (%(entities)s::text[] IS NULL OR t.entity_id = ANY(%(entities)s::text[]))
"""  # noqa: S608 - a part of ours
_FIRST_OF_THEM = " ORDER BY 1, 4 LIMIT %(limit)s"
_LAST_OF_THEM = " ORDER BY 1 DESC, 4 DESC LIMIT %(limit)s"
_TRANSACTIONS = f"""
SELECT r.position, t.chain_seq - r.base, t.partition, t.chain_seq, t.entity_id, t.external_id, t.kind, t.payment_id,
    t.relates_to, t.actor, t.description, t.metadata, t.accepted_at, t.effective_at, t.posted_at
{_RANGES} CROSS JOIN LATERAL (
    SELECT * FROM ledger_transaction t WHERE t.partition = r.partition AND t.chain_seq BETWEEN r.first AND r.last
    OFFSET 0
) t
"""  # noqa: S608 - a part of ours
# An entry tells the account's balance if no other of the same batch follows it: a batch has one time of posting.
_ENTRIES = f"""
SELECT r.position, e.chain_seq - r.base, e.partition, e.chain_seq, e.leg, e.account_id, e.entry_number, e.amount_minor,
    e.balance_minor, e.currency_code, e.posted_at, n.posted_at IS DISTINCT FROM e.posted_at,
    CASE WHEN n.posted_at IS DISTINCT FROM e.posted_at THEN (
        SELECT ARRAY[h.held_minor, h.changes] FROM event_held h
        WHERE h.account_id = e.account_id AND h.position <= r.position ORDER BY h.position DESC LIMIT 1
    ) END
{_RANGES} CROSS JOIN LATERAL (
    SELECT * FROM entry e WHERE e.partition = r.partition AND e.chain_seq BETWEEN r.first AND r.last OFFSET 0
) e LEFT JOIN entry n ON n.account_id = e.account_id AND n.entry_number = e.entry_number + 1
"""  # noqa: S608 - a part of ours
# One statement, so of one moment: a change of a floor has its notice until it has its position.
_FACTS = """
SELECT b.account_id, b.entity_id, b.currency_code, b.floor_minor,
    (SELECT array_agg(ARRAY[f.position, f.floor_before_minor] ORDER BY f.position) FROM event_floor f
        WHERE f.account_id = b.account_id AND f.position > %(first)s),
    (SELECT ARRAY[n.floor_before_minor] FROM event_notice n WHERE n.account_id = b.account_id AND n.changes_floor
        ORDER BY n.notice_id LIMIT 1)
FROM account_balance b WHERE b.account_id = ANY(%(accounts)s::text[])
"""


class EventFeed:
    """Reads events in their order, and gives positions to what has none."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def sequence(self) -> int:
        """Give positions to what has none; returns the last position. A ledger that takes no writes gives none."""
        try:
            [(position,)] = self._rows(_SEQUENCE, {"most": SEQUENCED_AT_ONCE})
        except LedgerUnavailable as fault:
            log.warning("no positions given to new events, they are tried again: %s", fault)
            return self.head()
        return int(position)

    def head(self) -> int:
        """The last position that was given."""
        [(position,)] = self._rows(_HEAD, {})
        return int(position)

    def page(self, after: Cursor = BEGINNING, limit: int = 100, wanted: Wanted = EVERYTHING) -> EventPage:
        """Up to `limit` wanted events after a cursor. A page may have fewer, or none, and not be the end."""
        return self._read(after, limit, wanted, backwards=False)

    def before(self, end: Cursor, limit: int, wanted: Wanted = EVERYTHING) -> EventPage:
        """Up to `limit` wanted events before a cursor, the latest first; its cursor is the place to look on before."""
        return self._read(end, limit, wanted, backwards=True)

    def _read(self, place: Cursor, limit: int, wanted: Wanted, *, backwards: bool) -> EventPage:
        """Look further and further, until there is a page or enough was looked through."""
        found: list[Event] = []
        left, most = LOOKED_AT, limit
        while True:
            most = min(most, left)
            step = self._step(place, limit - len(found), most, wanted, backwards=backwards)
            found += step.events
            place = step.cursor
            left -= most
            most *= WIDER
            if wanted.is_all or step.is_end or len(found) >= limit or left <= 0:
                return EventPage(found, place, step.is_end)

    def _step(self, place: Cursor, limit: int, most: int, wanted: Wanted, *, backwards: bool) -> EventPage:
        """Look through up to `most` transactions and other rows for up to `limit` wanted events."""
        first = place.position + (place.part == WHOLE and not backwards)
        found = self._rows(_BEFORE if backwards else _AFTER, {"place": first, "limit": most + 1})
        stretch = (stretch_before if backwards else stretch_after)(found, place, most)
        if stretch.reached is None:
            return EventPage([], place, is_end=True)
        reached, is_end, picked = stretch.reached, stretch.is_end, stretch.ranges
        if not wanted.is_all:
            picked = self._picked(stretch.ranges, wanted, limit, backwards=backwards)
            if len(picked) == limit:  # there may be more of them in this stretch
                reached, is_end = place_beside(picked[-1], backwards=backwards), False
        events = [*self._of_chains(picked, wanted), *self._of_singles(stretch.singles, wanted)]
        begin, end = (reached, place) if backwards else (place, reached)
        is_before = Cursor.__lt__ if backwards else Cursor.__le__
        is_after = Cursor.__ge__ if backwards else Cursor.__gt__
        events = [one for one in events if is_after(one.cursor, begin) and is_before(one.cursor, end)]
        events = sorted(filter(wanted.takes, events), key=lambda one: one.cursor, reverse=backwards)
        if len(events) > limit:
            return EventPage(events[:limit], events[limit - 1].cursor, is_end=False)
        return EventPage(events, reached, is_end)

    def _picked(self, ranges: Sequence[Range], wanted: Wanted, limit: int, *, backwards: bool) -> list[Range]:
        """Of these transactions the first of which a reader wants something, or the last; each as a range."""
        if not ranges or not _wants_any(wanted, {*MOVED_BY.values(), EventType.BALANCE_UPDATED}):
            return []
        tells_balances = _wants_any(wanted, {EventType.BALANCE_UPDATED})
        types = () if wanted.types is None else wanted.types
        parameters = {
            "account": wanted.account_id,
            "kinds": None if tells_balances else [kind for kind, one in MOVED_BY.items() if one in types],
            "entities": None if wanted.entities is None else sorted(wanted.entities),
            "limit": limit,
        }
        query = _PICKED if wanted.account_id is None else _PICKED_OF_ACCOUNT
        query += _LAST_OF_THEM if backwards else _FIRST_OF_THEM
        rows = self._rows(query, {**_bounds(ranges), **parameters})
        return [Range(position, partition, base, number, number) for position, partition, base, number in rows]

    def _of_chains(self, ranges: Sequence[Range], wanted: Wanted) -> Iterable[Event]:
        if not ranges:
            return
        transactions = self._rows(_TRANSACTIONS, _bounds(ranges))
        entries = self._rows(_ENTRIES, _bounds(ranges))
        legs: dict[tuple[int, int], list[Sequence[Any]]] = defaultdict(list)
        for row in entries:
            legs[row[2], row[3]].append(row)
        for row in transactions:
            yield transaction_event(row, sorted(legs[row[2], row[3]], key=lambda leg: int(leg[4])))
        if _wants_any(wanted, {EventType.BALANCE_UPDATED}):
            told = [row for row in entries if row[11] and wanted.account_id in (None, row[5])]
            yield from self._balances(told)

    def _balances(self, entries: Sequence[Sequence[Any]]) -> Iterable[Event]:
        facts = self.facts({row[5] for row in entries}, min((row[0] for row in entries), default=0))
        for row in entries:
            position, part, partition, chain_seq, leg, account_id, number = row[:7]
            held_minor, changes = row[12] or (0, 0)
            yield balance_event(
                Cursor(position, part, leg + 1),
                f"evt_{partition}_{chain_seq}_{leg}",
                account_id,
                row[10],
                number + changes,
                row[8],
                held_minor,
                facts[account_id],
            )

    def facts(self, account_ids: Iterable[str], first: int) -> dict[str, AccountFacts]:
        """What balances of these accounts are told with at positions from `first` on."""
        wanted = sorted(set(account_ids))
        found = self._rows(_FACTS, {"accounts": wanted, "first": first}) if wanted else ()
        return {
            account_id: AccountFacts(entity_id, currency, floors or (), noticed[0] if noticed else floor_minor)
            for account_id, entity_id, currency, floor_minor, floors, noticed in found
        }

    def _of_singles(self, singles: Sequence[Sequence[Any]], wanted: Wanted) -> Iterable[Event]:
        if wanted.types is not None:
            singles = [row for row in singles if _wants_any(wanted, TOLD_BY[row[1]])]
        if wanted.account_id is not None:
            singles = [row for row in singles if row[1] != "account" or row[6] == wanted.account_id]
        return events_without_chain(self._rows, singles, self.facts) if singles else ()


def _bounds(ranges: Sequence[Range]) -> dict[str, Any]:
    return {
        "positions": [one.position for one in ranges],
        "partitions": [one.partition for one in ranges],
        "bases": [one.base for one in ranges],
        "firsts": [one.first for one in ranges],
        "lasts": [one.last for one in ranges],
    }


def _wants_any(wanted: Wanted, types: Iterable[EventType]) -> bool:
    return wanted.types is None or any(one in wanted.types for one in types)
