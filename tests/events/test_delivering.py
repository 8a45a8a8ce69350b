"""Delivering to several endpoints at once: whatever one does, the others get their events."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import pytest

from app import webhook_sender
from app.domain.events_in_hand import MOST_IN_HAND
from app.domain.webhooks import Endpoint, NewEndpoint
from app.services.events.deliver import AT_ONCE_IN_ALL, Deliverer, places_of_each
from app.services.events.endpoint_work import AT_ONCE, EndpointWork
from app.webhook_sender import WebhookSender
from tests.events.desk import Desk
from tests.events.receiver import Receiver, accounts_of, receiving
from tests.patience import PATIENCE_S, until


@contextmanager
def delivering(desk: Desk) -> Iterator[None]:
    """A deliverer at work, as in a process of its own; it has ended in order afterwards."""
    begun: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def deliver() -> None:
        sender = WebhookSender(allow_private=True)

        def new_work(endpoint: Endpoint) -> EndpointWork:
            return EndpointWork(endpoint, desk.deliveries, desk.feed, sender, lambda: datetime.now(UTC), lambda: 0.5)

        stopped = asyncio.Event()
        begun.append((asyncio.get_running_loop(), stopped))
        await Deliverer(desk.deliveries, desk.feed, new_work).run(lambda: True, stopped)
        await sender.close()

    thread = Thread(target=lambda: asyncio.run(deliver()))
    thread.start()
    try:
        yield
    finally:
        until(lambda: bool(begun))
        loop, stopped = begun[0]
        loop.call_soon_threadsafe(stopped.set)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages wait for their answers as long as the test lasts."""
    monkeypatch.setattr(webhook_sender, "ANSWER_S", 3_600.0)


def has_all(receiver: Receiver, events: Sequence[str]) -> bool:
    return {*receiver.ids()} >= {*events}


@pytest.mark.usefixtures("no_deadline")
def test_an_endpoint_that_hangs_delays_no_other(desk: Desk, receiver: Receiver) -> None:
    fast = desk.made(receiver)
    released = Event()
    with receiving() as hung:
        hung.answer = lambda *_: 204 if released.wait(PATIENCE_S) else 500
        desk.made(hung)
        desk.pay(MOST_IN_HAND)
        events = desk.events_after(fast)
        with delivering(desk):
            until(lambda: bool(hung.secrets) and has_all(receiver, events))
            assert hung.taken == []
            released.set()
            until(lambda: has_all(hung, events))
    assert receiver.forged + hung.forged == []


@pytest.mark.usefixtures("no_deadline")
@pytest.mark.parametrize("is_ordered", [False, True])
def test_a_message_that_hangs_delays_no_other_of_its_endpoint(desk: Desk, receiver: Receiver, is_ordered: bool) -> None:
    """But for those that are to come after it."""
    world = desk.world
    for number in range(2):
        world.account(f"payer-{number}", balance_minor=1_000)
        world.account(f"payee-{number}")
    issued = desk.made(receiver, is_ordered=is_ordered)
    world.accepted("alice", "bob", 1)
    world.drain()
    hanging = desk.events_after(issued)[0]
    for number in range(2 * MOST_IN_HAND):
        world.accepted(f"payer-{number % 2}", f"payee-{number % 2}", 1)
    world.accepted("alice", "bob", 1)
    world.drain()
    released = Event()

    def hang_on_the_first(_: Receiver, event: dict[str, Any]) -> int:
        return 204 if event["id"] != hanging or released.wait(PATIENCE_S) else 500

    receiver.answer = hang_on_the_first
    events = desk.events_after(issued)
    with delivering(desk):
        others = events_of(desk, issued.endpoint, {f"payer-{number}" for number in range(2)})
        until(lambda: has_all(receiver, others))
        assert hanging not in receiver.ids()
        if is_ordered:
            assert not {"alice", "bob"} & {one for event in receiver.taken for one in accounts_of(event)}
        released.set()
        until(lambda: has_all(receiver, events))
    if is_ordered:
        for account_id, ids in receiver.by_account().items():
            assert ids == events_of(desk, issued.endpoint, {account_id})


def events_of(desk: Desk, endpoint: Endpoint, account_ids: set[str]) -> list[str]:
    """The events about any of these accounts that an endpoint is to be told, in order."""
    page = desk.feed.page(endpoint.cursor, 10_000)
    assert page.is_end
    return [one.event_id for one in page.events if account_ids & {*one.account_ids}]


def test_a_name_that_nobody_answers_for_delays_no_other_endpoint(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = Event()
    ask = socket.getaddrinfo

    def hang(host: Any, *more: Any, flags: int = 0, **named: Any) -> Any:
        if host == "hangs.example" and not flags & socket.AI_NUMERICHOST:
            released.wait(PATIENCE_S)
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return ask(host, *more, flags=flags, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    fast = desk.made(receiver)
    desk.endpoints.create(NewEndpoint("https://hangs.example/hook"), "key:test")
    desk.pay(MOST_IN_HAND)
    with delivering(desk):
        until(lambda: has_all(receiver, desk.events_after(fast)))
        assert not released.is_set()
        released.set()


def test_what_was_answered_is_on_record_when_delivering_ends_in_order(desk: Desk, receiver: Receiver) -> None:
    """So nothing is told twice without a crash, but for what was on its way."""
    issued = desk.made(receiver)
    desk.pay(20)
    with delivering(desk):
        until(lambda: len(receiver.taken) >= 10)
    before = receiver.ids()
    with delivering(desk):
        until(lambda: has_all(receiver, desk.events_after(issued)))
    assert len(receiver.taken) == len(receiver.ids()) >= len(before)


def test_endpoints_with_nothing_to_do_ask_the_ledger_nothing(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are looked after together, so a hundred idle ones cost what one does."""
    asked: Counter[str] = Counter()

    def count(owner: object, name: str) -> None:
        ask = getattr(owner, name)

        def counted(*arguments: Any) -> Any:
            asked[name] += 1
            return ask(*arguments)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in ((desk.feed, "sequence"), (desk.feed, "page"), (desk.deliveries, "waiting")):
        count(owner, name)

    def is_quiet() -> bool:
        looks, before = asked["sequence"], (asked["page"], asked["waiting"])
        until(lambda: asked["sequence"] >= looks + 3)
        return (asked["page"], asked["waiting"]) == before

    issued = [desk.made(receiver) for _ in range(3)]
    desk.pay(2)
    with delivering(desk):
        for _ in range(2):
            until(lambda: all(has_all(receiver, desk.events_after(one)) for one in issued))
            until(is_quiet)
            desk.pay(1)
        until(lambda: all(has_all(receiver, desk.events_after(one)) for one in issued))


def test_what_fails_is_tried_again_by_an_endpoint_with_nothing_else_to_do(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    receiver.answer = lambda *_: 500
    desk.pay(1)
    events = desk.events_after(issued)
    with delivering(desk):
        until(lambda: len(desk.deliveries.waiting(issued.endpoint.endpoint_id, 10)) == len(events))
        receiver.answer = lambda *_: 204
        desk.deliveries.hasten(issued.endpoint.endpoint_id)
        until(lambda: has_all(receiver, events))


def test_the_places_of_all_are_bounded_and_each_endpoint_has_one() -> None:
    assert places_of_each(1) == places_of_each(AT_ONCE_IN_ALL // AT_ONCE) == AT_ONCE
    assert all(number * places_of_each(number) <= max(number, AT_ONCE_IN_ALL) for number in range(1, 2_000))
    assert places_of_each(5_000) == 1
