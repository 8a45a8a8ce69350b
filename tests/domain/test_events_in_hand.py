"""The events in hand for an endpoint: what may be sent, and up to where it counts as told."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.events import Cursor, Event, EventPage, EventType
from app.domain.events_in_hand import EVENTS_A_PAGE, MOST_IN_HAND, PUT_ASIDE_AFTER_S, EventsInHand, InHand, ToRecord
from app.domain.webhooks import Attempt, Waiting

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
START = Cursor(0, 0, 0)


def event(number: int, *accounts: str) -> Event:
    return Event(
        Cursor(number, 0, 0), f"evt_{number}", EventType.PAYMENT_POSTED, "s", NOON, 1, {}, account_ids=accounts
    )


def page(*events: Event) -> EventPage:
    return EventPage([*events], events[-1].cursor, is_end=True)


def hand(*events: Event, is_ordered: bool = False) -> EventsInHand:
    made = EventsInHand("whe_1", START, is_ordered=is_ordered)
    if events:
        made.take_up(page(*events), ())
    return made


def full(*, is_ordered: bool = False) -> EventsInHand:
    """A hand without room, in which each event has an account of its own, but for the second, which has the first's."""
    names = [f"a{max(number, 2)}" for number in range(1, MOST_IN_HAND + 1)]
    made = hand(is_ordered=is_ordered)
    for start in range(0, MOST_IN_HAND, EVENTS_A_PAGE):
        events = [event(start + number, names[start + number - 1]) for number in range(1, EVENTS_A_PAGE + 1)]
        made.take_up(page(*events), ())
    return made


def send(of: EventsInHand, at_s: float = 0.0) -> list[InHand]:
    """Send all that is ready."""
    ready = list(of.ready(may_try_new=True))
    for one in ready:
        one.sent_at_s = at_s
    return ready


def answer(sent: Iterable[InHand], status: int = 204) -> None:
    for one in sent:
        told = one.event
        one.attempt = Attempt(
            "whe_1", told.event_id, told.type.value, told.cursor, one.number, "u", NOON, 1, status, ""
        )


def record(of: EventsInHand, at_s: float = 0.0) -> ToRecord:
    return of.to_record(NOON, at_s, lambda: 0.5, has_places=True)


def numbers(found: Iterable[InHand] | Iterable[Waiting]) -> list[int]:
    return [one.event.cursor.position if isinstance(one, InHand) else one.cursor.position for one in found]


def test_the_cursor_passes_what_was_taken_and_stops_before_what_is_on_its_way() -> None:
    made = hand(event(1), event(2), event(3))
    first, second, third = send(made)
    answer([second])
    found = record(made)
    assert (found.cursor, len(found.attempts)) == (None, 1), "its attempt is on record at once"
    answer([first])
    assert record(made).cursor == second.event.cursor
    assert not record(made)
    answer([third])
    assert record(made).cursor == third.event.cursor


def test_what_fails_waits_on_record_and_the_cursor_passes_it() -> None:
    made = hand(event(1, "a"), event(2, "b"))
    answer(send(made), 500)
    found = record(made)
    assert (found.cursor, numbers(found.waiting)) == (Cursor(2, 0, 0), [1, 2])
    [due, _] = made.due(found.waiting, NOON + timedelta(minutes=1))
    made.take_again([due], [event(1, "a")], found.waiting)
    [again] = send(made)
    assert again.number == 2
    answer([again])
    assert record(made).delivered == [due]


def test_a_message_on_its_way_for_long_is_put_aside_once_nothing_more_can_be_taken_up() -> None:
    made = full()
    slow, *others = send(made)
    answer(others)
    assert record(made, PUT_ASIDE_AFTER_S / 2).cursor is None
    found = record(made, PUT_ASIDE_AFTER_S)
    assert (found.cursor, numbers(found.waiting)) == (Cursor(MOST_IN_HAND, 0, 0), [1])
    assert made.due(found.waiting, NOON) == [], "it is still on its way"
    assert made.has_room
    answer([slow])
    assert record(made).delivered == found.waiting


def test_a_message_on_its_way_for_long_waits_where_there_is_room() -> None:
    made = hand(event(1), event(2))
    _, second = send(made)
    answer([second])
    assert record(made, 10.0).waiting == []


def test_in_order_what_comes_after_one_put_aside_waits_with_it_and_is_sent_after_it() -> None:
    made = full(is_ordered=True)
    slow, *others = send(made)
    assert 2 not in numbers(others)
    answer(others)
    found = record(made, PUT_ASIDE_AFTER_S)
    assert numbers(found.waiting) == [1, 2]
    assert made.due(found.waiting, NOON) == [], "the first is on its way, and keeps the second back"
    later = event(MOST_IN_HAND + 1, slow.event.account_ids[0])
    made.take_up(page(later), found.waiting)
    assert send(made) == [], "and whatever comes after it"
    answer([slow])
    assert numbers(record(made).waiting) == [later.cursor.position]
    [second] = made.due([found.waiting[1]], NOON)
    made.take_again([second], [event(2, *second.account_ids)], [found.waiting[1]])
    assert numbers(send(made)) == [2]


def test_in_order_nothing_of_an_account_is_sent_after_a_failure_before_that_is_on_record() -> None:
    made = hand(event(1, "a", "b"), event(2, "b", "c"), event(3, "c"), event(4, "d"), is_ordered=True)
    first, other = send(made)
    assert numbers([first, other]) == [1, 4]
    answer([first], 500)
    assert send(made) == []
    assert numbers(record(made).waiting) == [1, 2, 3]
    answer([other])
    assert record(made).cursor == Cursor(4, 0, 0)


def test_after_a_crash_what_waits_on_record_is_not_taken_up_as_new() -> None:
    before = hand(event(1), event(2))
    _, second = send(before)
    answer([second], 500)
    found = record(before)
    assert (found.cursor, numbers(found.waiting)) == (None, [2])
    after = hand()
    after.take_up(page(event(1), event(2)), found.waiting)
    assert numbers(send(after)) == [1]


def test_after_a_crash_what_waits_is_not_tried_before_what_was_in_hand_before_it() -> None:
    events = event(1, "a"), event(2, "b"), event(3, "a", "b")
    before = hand(*events, is_ordered=True)
    _, second = send(before)
    answer([second], 500)
    failed, last = record(before).waiting
    before.take_again(before.due([failed, last], NOON + timedelta(minutes=1)), events[1:], [failed, last])
    answer(send(before))
    assert record(before).delivered == [failed]
    assert send(before) == [], "the first is still on its way"
    after = hand(is_ordered=True)
    assert after.due([last], NOON) == []
    after.take_up(page(*events), [last])
    assert numbers(send(after)) == [1, 2]


class Delivery:
    """A deliverer of an ordered endpoint that is killed now and then, step by step, with chance for a clock."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.events = [event(number, *self.chance.choices("abcde", k=2)) for number in range(1, 400)]
        self.told = START
        self.waiting: dict[Cursor, Waiting] = {}
        self.taken: list[Event] = []
        self.now = NOON
        self.begin()

    def begin(self) -> None:
        """Begin from what is on record, as after a crash."""
        self.hand = EventsInHand("whe_1", self.told, is_ordered=True)
        self.sent: list[InHand] = []

    def step(self) -> None:
        """Take up, send, record; between any two of them messages are answered and others go."""
        self.now += timedelta(seconds=self.chance.random())
        waiting = sorted(self.waiting.values(), key=lambda one: one.cursor)
        self.go_on()
        due = self.hand.due(waiting, self.now)
        self.go_on()
        self.hand.take_again(due, [self.events[one.cursor.position - 1] for one in due], waiting)
        self.go_on()
        if self.hand.has_room and self.chance.random() < 0.8:
            start = self.hand.read.position
            if new := self.events[start : start + EVENTS_A_PAGE]:
                self.hand.take_up(page(*new), waiting)
        self.go_on()
        late_s = self.now.timestamp() + self.chance.choice([0.0, PUT_ASIDE_AFTER_S])
        found = self.hand.to_record(self.now, late_s, self.chance.random, has_places=True)
        self.go_on()
        if self.chance.random() < 0.02:
            return self.begin()
        for one in found.delivered:
            self.waiting.pop(one.cursor, None)
        self.waiting |= {one.cursor: one for one in found.waiting}
        self.told = found.cursor or self.told
        if self.chance.random() < 0.02:
            self.begin()
        return None

    def go_on(self) -> None:
        """Have some messages answered, and send what may go."""
        answered = [one for one in self.sent if self.chance.random() < 0.4]
        self.sent = [one for one in self.sent if one not in answered]
        for one in answered:
            status = 500 if self.chance.random() < 0.2 else 204
            answer([one], status)
            if status == 204:
                self.taken.append(one.event)
            self.sent += send(self.hand, self.now.timestamp())
        self.sent += send(self.hand, self.now.timestamp())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_and_whenever_it_is_killed_each_account_has_its_order(seed: int) -> None:
    delivery = Delivery(seed)
    while delivery.waiting or delivery.told != delivery.events[-1].cursor:
        delivery.step()
    taken = list(dict.fromkeys(one.event_id for one in delivery.taken))
    assert {*taken} == {one.event_id for one in delivery.events}
    for account_id in "abcde":
        wanted = [one.event_id for one in delivery.events if account_id in one.account_ids]
        assert [one for one in taken if one in {*wanted}] == wanted
