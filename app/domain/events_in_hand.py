"""The events that a deliverer has in hand for one endpoint: which may be sent now, and what goes on record.

New events are taken up in order, beyond the cursor up to which the endpoint has been told on record. The cursor passes
an event when it was taken, or when it waits on record; so a crash repeats what is in hand, and loses nothing.

A message that is on its way for long holds the cursor back. If for that reason no more events can be taken up, it is
put aside: it waits on record too, and the cursor passes it, while it is still on its way.

In an ordered endpoint an event is sent after all earlier ones of each of its accounts. If one of those waits, it waits
too, without being tried; once the earlier one is dead, it is not waited for.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.events import Cursor, Event, EventPage
from app.domain.webhooks import Attempt, Waiting, after_failure

EVENTS_A_PAGE = 64
"""New events that are read at once."""

MOST_IN_HAND = 2 * EVENTS_A_PAGE
"""New events beyond the cursor, so that there are some to send while others are read; a crash repeats so many."""

PUT_ASIDE_AFTER_S = 0.25
"""How long a message may hold the others of its endpoint back. One of an endpoint that works takes less."""


@dataclass(slots=True, eq=False)
class InHand:
    """An event in hand: `waiting` is what is on record of it, `attempt` what became of it, until that is on record."""

    event: Event
    waiting: Waiting | None = None
    sent_at_s: float | None = None
    attempt: Attempt | None = None
    is_recorded: bool = False

    @property
    def number(self) -> int:
        """Which attempt is the next."""
        return 1 if self.waiting is None else self.waiting.attempts + 1

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint has it."""
        return self.is_recorded or (self.attempt is not None and self.attempt.is_delivered)


@dataclass(slots=True)
class ToRecord:
    """What goes on record at once; those in `delivered` waited before, and wait no more."""

    cursor: Cursor | None = None
    attempts: list[Attempt] = field(default_factory=list)
    delivered: list[Waiting] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.cursor or self.attempts or self.delivered or self.waiting)


class EventsInHand:
    """The events in hand for one endpoint."""

    def __init__(self, endpoint_id: str, told: Cursor, *, is_ordered: bool) -> None:
        self._endpoint_id = endpoint_id
        self._is_ordered = is_ordered
        self._told = told
        self.read = told
        """Up to where new events have been taken up."""
        self._new: dict[Cursor, InHand] = {}
        self._again: dict[Cursor, InHand] = {}
        self._ahead: dict[str, Cursor] = {}
        """In an ordered endpoint: for each account the first that waits on record and is not in hand."""

    # Taking up

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in hand."""
        return not self._new and not self._again

    @property
    def has_room(self) -> bool:
        """Whether a page of new events may be taken up."""
        return len(self._new) + EVENTS_A_PAGE <= MOST_IN_HAND

    @property
    def has_unsent(self) -> bool:
        """Whether anything in hand is to be sent yet, if not now."""
        return any(one.sent_at_s is None for one in (*self._again.values(), *self._new.values()))

    def due(self, waiting: Collection[Waiting], now: datetime) -> list[Waiting]:
        """What waits on record and may be taken in hand now, with the rest of what waits in mind.

        What lies beyond what was read is left for later: before a crash there were others in hand before it.
        """
        for cursor, one in [*self._again.items()]:
            if one.sent_at_s is None and self._is_behind(one.event):
                del self._again[cursor]
        self._keep_in_mind(waiting)
        read = [one for one in waiting if one.cursor <= self.read]
        free = free_to_go(read, now, is_ordered=self._is_ordered, in_hand=self._again)
        return free[: max(0, EVENTS_A_PAGE - len(self._again))]

    def take_again(self, due: Iterable[Waiting], events: Iterable[Event], waiting: Iterable[Waiting]) -> None:
        """Take what is tried again, with its events."""
        self._again |= {one.cursor: InHand(event, one) for one, event in zip(due, events, strict=True)}
        self._keep_in_mind(waiting)

    def _keep_in_mind(self, waiting: Iterable[Waiting]) -> None:
        self._ahead.clear()
        for one in waiting:
            if one.cursor not in self._again:
                self._note_ahead(one)

    def _note_ahead(self, one: Waiting) -> None:
        for account_id in one.account_ids if self._is_ordered else ():
            self._ahead[account_id] = min(one.cursor, self._ahead.get(account_id, one.cursor))

    def _is_behind(self, event: Event) -> bool:
        """Whether an earlier event of its accounts waits on record and is not in hand."""
        return any(self._ahead.get(one, event.cursor) < event.cursor for one in event.account_ids)

    def take_up(self, page: EventPage, waiting: Iterable[Waiting]) -> None:
        """Take new events, but for those that wait on record since before a crash."""
        known = self._again.keys() | {one.cursor for one in waiting}
        self._new |= {one.cursor: InHand(one) for one in page.events if one.cursor not in known}
        self.read = page.cursor

    # Sending

    def ready(self, *, may_try_new: bool) -> Iterator[InHand]:
        """What may be sent now, in order."""
        kept_back: set[str] = set()
        for one in self._in_order():
            is_ready = one.sent_at_s is None and (may_try_new or one.waiting is not None)
            if is_ready and kept_back.isdisjoint(one.event.account_ids) and not self._is_behind(one.event):
                yield one
            if self._is_ordered and not one.is_taken:
                kept_back.update(one.event.account_ids)

    def _in_order(self) -> list[InHand]:
        return sorted([*self._again.values(), *self._new.values()], key=lambda one: one.event.cursor)

    # Recording

    def to_record(self, now: datetime, now_s: float, jitter: Callable[[], float], *, has_places: bool) -> ToRecord:
        """What became of events, and up to where the endpoint has been told; counts as on record from now on.

        With `has_places` more could be on its way, if only more could be taken up.
        """
        found = ToRecord()
        for one in self._in_order():
            if one.attempt is not None and not one.is_recorded:
                self._note_outcome(one, one.attempt, now, jitter(), found)
        found.waiting += self._put_aside(now, has_places and self._is_held_back(now_s))
        if (told := self._pass()) != self._told:
            self._told = found.cursor = told
        return found

    def _note_outcome(self, one: InHand, attempt: Attempt, now: datetime, jitter: float, found: ToRecord) -> None:
        found.attempts.append(attempt)
        one.is_recorded = True
        self._again.pop(one.event.cursor, None)
        if not attempt.is_delivered:
            failed = after_failure(one.waiting or self._first(one.event, now), attempt, now, jitter)
            found.waiting.append(failed)
            if failed.dead_at is None:
                self._note_ahead(failed)
        elif one.waiting is not None:
            found.delivered.append(one.waiting)

    def _is_held_back(self, now_s: float) -> bool:
        """Whether nothing can be taken up, because of a message that is on its way for long."""
        sent = [one.sent_at_s for one in self._new.values() if one.sent_at_s is not None and not one.is_recorded]
        return not self.has_room and bool(sent) and now_s - min(sent) >= PUT_ASIDE_AFTER_S

    def _put_aside(self, now: datetime, is_held_back: bool) -> Iterator[Waiting]:
        """What keeps the cursor back, if it does; and in an ordered endpoint what waits for something on record."""
        kept_back: set[str] = set()
        for cursor, one in [*self._new.items()]:
            event = one.event
            is_on_its_way = one.sent_at_s is not None and not one.is_recorded
            is_kept_back = self._is_behind(event) or (self._is_ordered and not kept_back.isdisjoint(event.account_ids))
            if (is_on_its_way and is_held_back) or (one.sent_at_s is None and is_kept_back):
                del self._new[cursor]
                one.waiting = self._first(event, now)
                kept_back.update(event.account_ids)
                if is_on_its_way:
                    self._again[cursor] = one
                else:
                    self._note_ahead(one.waiting)
                yield one.waiting

    def _pass(self) -> Cursor:
        """Up to where the endpoint has been told: to before the first new event that is not on record."""
        told = self._told
        for cursor, one in [*self._new.items()]:
            if not one.is_recorded:
                return told
            told = cursor
            del self._new[cursor]
        return self.read

    def _first(self, event: Event, now: datetime) -> Waiting:
        return Waiting(
            self._endpoint_id, event.cursor, event.event_id, event.type.value, event.account_ids, 0, now, now
        )


def free_to_go(
    waiting: Collection[Waiting], now: datetime, *, is_ordered: bool, in_hand: Collection[Cursor] = ()
) -> list[Waiting]:
    """What may be tried now, in order, but for what is in hand.

    In an ordered endpoint, what is not due or is in hand keeps the later of its accounts back.
    """
    free: list[Waiting] = []
    kept_back: set[str] = set()
    for one in sorted(waiting, key=lambda one: one.cursor):
        is_due = one.next_at <= now and one.cursor not in in_hand
        if is_due and (not is_ordered or kept_back.isdisjoint(one.account_ids)):
            free.append(one)
        else:
            kept_back.update(one.account_ids)
    return free
