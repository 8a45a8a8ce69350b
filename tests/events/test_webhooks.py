"""Webhooks: signed, at least once, in order where that is asked for, tried again, given up, sent again."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.domain.events import Cursor, EventType
from app.domain.events_in_hand import EVENTS_A_PAGE, free_to_go
from app.domain.webhook_urls import refuse_url
from app.domain.webhooks import (
    LONGEST_PAUSE_S,
    RETRIED_FOR,
    Attempt,
    EndpointState,
    NewEndpoint,
    Waiting,
    after_failure,
    pause_s,
)
from app.ledger.webhooks import LedgerWebhooks
from app.services.events.endpoint_work import DOWN_AFTER
from app.services.events.endpoints import Endpoints, UnusableUrl
from app.webhook_sender import WebhookSender
from tests.events.desk import Desk
from tests.events.receiver import Receiver, receiving
from tests.events.world import EVERYTHING, read

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_an_endpoint_is_told_of_everything_from_now_on_signed(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    desk.pay(3)
    desk.rounds(issued, 3)
    assert sorted(receiver.ids()) == sorted(desk.events_after(issued))
    assert receiver.forged == []
    desk.rounds(issued, 2)
    assert len(receiver.taken) == len(receiver.ids()), "a round that is on record is not repeated"
    logged = desk.endpoints.ledger.attempts(issued.endpoint.endpoint_id, limit=100)
    assert {one.attempt.status for one in logged} == {204}
    assert all(one.is_delivered and one.attempt.number == 1 for one in logged)


def test_both_secrets_sign_while_one_is_rotated(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    rotated = desk.endpoints.rotate(issued.endpoint.endpoint_id, timedelta(hours=1), "key:test", None)
    assert rotated is not None
    for secrets in ([issued.secret], [rotated.secret]):
        receiver.secrets[:] = secrets
        desk.pay()
        desk.rounds(issued)
        assert receiver.forged == []
    desk.endpoints.rotate(issued.endpoint.endpoint_id, timedelta(), "key:test", None)
    desk.pay()
    desk.rounds(issued)
    assert receiver.forged, "the former secrets have ended"


def test_what_fails_is_tried_again_and_then_taken(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver, types=[EventType.PAYMENT_POSTED])
    receiver.answer = lambda *_: 500
    desk.pay()
    desk.rounds(issued)
    [waiting] = desk.endpoints.ledger.waiting(issued.endpoint.endpoint_id, limit=9, dead=False)
    assert (waiting.attempts, waiting.last_failure) == (1, "500 not now")
    receiver.answer = lambda *_: 200
    desk.rounds(issued)
    assert receiver.taken == [], "its pause is not over"
    desk.rounds(issued, later=timedelta(minutes=1))
    assert len(receiver.taken) == 1
    assert desk.endpoints.ledger.counts() == {}
    numbers = [one.attempt.number for one in desk.endpoints.ledger.attempts(issued.endpoint.endpoint_id, limit=9)]
    assert numbers == [2, 1]


@pytest.mark.parametrize("asks_for", ["seconds", "date", "nonsense"])
def test_an_endpoint_is_not_asked_again_before_it_wants_to_be(desk: Desk, receiver: Receiver, asks_for: str) -> None:
    later = datetime.now(UTC) + timedelta(minutes=20)
    receiver.retry_after = {"seconds": "1200", "date": format_datetime(later, usegmt=True)}.get(asks_for, "soon")
    issued = desk.made(receiver, types=[EventType.PAYMENT_POSTED])
    receiver.answer = lambda *_: 503
    desk.pay()
    desk.rounds(issued)
    [waiting] = desk.endpoints.ledger.waiting(issued.endpoint.endpoint_id, limit=9, dead=False)
    assert (waiting.next_at >= later - timedelta(seconds=2)) is (asks_for != "nonsense")


def test_after_three_days_it_is_dead_and_is_sent_again_by_hand(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver, types=[EventType.PAYMENT_POSTED])
    endpoint_id = issued.endpoint.endpoint_id
    receiver.answer = lambda *_: 500
    desk.pay(2)
    desk.rounds(issued)
    desk.rounds(issued, later=RETRIED_FOR - timedelta(hours=1))
    assert desk.endpoints.ledger.counts() == {endpoint_id: (2, 0)}
    desk.rounds(issued, later=RETRIED_FOR + timedelta(hours=2))
    assert desk.endpoints.ledger.counts() == {endpoint_id: (0, 2)}
    desk.rounds(issued, 3, later=2 * RETRIED_FOR)
    assert len(receiver.arrived) == 6, "the dead are not tried again by themselves"
    receiver.answer = lambda *_: 200
    first, second = desk.endpoints.ledger.waiting(endpoint_id, limit=9)
    assert desk.endpoints.resend(endpoint_id, [first.event_id], "user:anna", None) == 1
    desk.rounds(issued, later=timedelta(seconds=1))
    assert receiver.ids() == [first.event_id]
    assert desk.endpoints.resend(endpoint_id, None, "user:anna", None) == 1
    desk.rounds(issued, later=timedelta(seconds=1))
    assert receiver.ids() == [first.event_id, second.event_id]
    assert desk.endpoints.ledger.counts() == {}


def test_an_answer_of_410_ends_it_until_somebody_enables_it(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    receiver.answer = lambda *_: 410
    desk.pay()
    desk.rounds(issued)
    found = desk.endpoints.ledger.get(issued.endpoint.endpoint_id)
    assert found is not None
    assert found.state is EndpointState.GONE
    assert desk.deliveries.endpoints() == []
    desk.pay()
    receiver.answer = lambda *_: 200
    desk.endpoints.change(issued.endpoint.endpoint_id, {"state": "enabled"}, "key:test", None)
    desk.rounds(issued, 3, later=timedelta(minutes=1))
    assert sorted(receiver.ids()) == sorted(desk.events_after(issued)), "nothing is lost"


def test_an_ordered_endpoint_keeps_the_order_of_each_account(desk: Desk, receiver: Receiver) -> None:
    """An event that fails keeps back the later ones of its accounts, and no others."""
    world = desk.world
    world.account("carol", balance_minor=100)
    world.account("dave")
    issued = desk.made(receiver, is_ordered=True)
    refused: list[str] = []

    def refuse_first_of_alice(_: Receiver, event: dict[str, object]) -> int:
        if not refused and event["subject"] == "alice":
            refused.append(str(event["id"]))
        return 503 if event["id"] in refused else 200

    receiver.answer = refuse_first_of_alice
    for _ in range(3):
        world.accepted("alice", "bob", 1)
        world.drain()
        world.accepted("carol", "dave", 1)
        world.drain()
    desk.rounds(issued, 2)
    taken = receiver.by_account()
    assert len(taken["carol"]) == 6, "another account goes on"
    assert len(taken["alice"]) == 1, "the payment itself; what follows its balance waits"
    refused[:] = ["none"]
    desk.rounds(issued, 12, later=timedelta(minutes=1))
    assert sorted(receiver.ids()) == sorted(desk.events_after(issued))
    expected: dict[str, list[str]] = {}
    for event in read(desk.feed, issued.endpoint.cursor, EVERYTHING):
        for account_id in event.account_ids:
            expected.setdefault(account_id, []).append(event.event_id)
    assert receiver.by_account() == expected


def test_an_endpoint_that_is_down_is_not_flooded_and_gets_everything_afterwards(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    receiver.answer = lambda *_: 500
    desk.pay(100)
    work = desk.rounds(issued, 4)
    assert work.is_down
    assert len({event["id"] for event, _ in receiver.arrived}) <= EVENTS_A_PAGE < len(desk.events_after(issued))
    receiver.answer = lambda *_: 200
    for _ in range(DOWN_AFTER):
        desk.rounds(issued, 2, later=timedelta(hours=2))
    assert sorted(receiver.ids()) == sorted(desk.events_after(issued))


def test_nobody_listens_is_a_failure_with_its_reason(desk: Desk) -> None:
    with receiving() as gone:
        issued = desk.made(gone, types=[EventType.PAYMENT_POSTED])
    desk.pay()
    desk.rounds(issued)
    [logged] = desk.endpoints.ledger.attempts(issued.endpoint.endpoint_id, limit=9)
    assert logged.attempt.status is None
    assert "ConnectError" in logged.attempt.answer


def test_a_name_at_a_private_address_is_refused_when_connecting() -> None:
    sender = WebhookSender(allow_private=False)
    for url in ("https://localhost.localdomain.test./", "https://2130706433/", "https://0x7f.1/"):
        sent = asyncio.run(sender.send(url, "evt_1", "{}", ["whsec_AAAA"]))
        assert sent.status is None
        assert "not public" in sent.answer or "gaierror" in sent.answer, (url, sent)
    with receiving() as receiver:
        sent = asyncio.run(sender.send(receiver.url, "evt_1", "{}", ["whsec_AAAA"]))
        assert (sent.status, sent.answer) == (None, "the URL must begin with https://")
        assert receiver.arrived == []


def test_a_redirect_is_an_answer_and_not_followed(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver, types=[EventType.PAYMENT_POSTED])
    receiver.answer = lambda *_: 307
    desk.pay()
    desk.rounds(issued)
    [logged] = desk.endpoints.ledger.attempts(issued.endpoint.endpoint_id, limit=9)
    assert (logged.attempt.status, logged.is_delivered) == (307, False)
    assert len(receiver.arrived) == 1


# Where to


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:192.168.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://localhost/",
        "https://user:password@example.org/",
        "https://example.org/#part",
        "https://",
        "ftp://example.org/",
        "https://example.org:99999/",
        "https://exa mple.org/",
    ],
)
def test_a_url_that_leads_nowhere_public_is_refused(url: str) -> None:
    assert refuse_url(url, allow_private=False) is not None


def test_a_public_url_is_taken_and_a_private_one_where_that_is_allowed(desk: Desk) -> None:
    assert refuse_url("https://example.org:8443/hooks?token=1", allow_private=False) is None
    assert refuse_url("http://10.0.0.1:8080/", allow_private=True) is None
    strict = Endpoints(LedgerWebhooks(desk.world.engine), desk.feed, allow_private=False)
    with pytest.raises(UnusableUrl, match="https"):
        strict.create(NewEndpoint("http://example.org"), "key:test")


# When


def waiting(number: int, *accounts: str, attempts: int = 0, next_at: datetime = NOON) -> Waiting:
    return Waiting("whe_1", Cursor(number, 0, 0), f"evt_{number}", "payment.posted", accounts, attempts, NOON, next_at)


def attempt(status: int | None = 500, retry_after_s: float = 0.0) -> Attempt:
    return Attempt("whe_1", "evt_1", "payment.posted", Cursor(1, 0, 0), 1, "u", NOON, 3, status, "", retry_after_s)


def test_pauses_double_up_to_an_hour_with_jitter_and_respect_what_the_endpoint_says() -> None:
    assert [pause_s(number, 0.5) for number in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert (pause_s(1, 0.0), pause_s(1, 1.0)) == (0.5, 1.5)
    assert pause_s(40, 0.5) == LONGEST_PAUSE_S
    assert pause_s(1, 0.5, 90) == 90
    assert pause_s(1, 0.5, 1e9) == LONGEST_PAUSE_S


def test_an_event_is_dead_three_days_after_its_first_failure() -> None:
    first = after_failure(waiting(1), attempt(), NOON, 0.5)
    assert (first.attempts, first.first_at, first.dead_at) == (1, NOON, None)
    nearly = after_failure(first, attempt(), NOON + RETRIED_FOR - timedelta(seconds=1), 0.5)
    assert nearly.dead_at is None
    over = after_failure(nearly, attempt(), NOON + RETRIED_FOR, 0.5)
    assert over.dead_at == NOON + RETRIED_FOR


def test_in_order_what_is_not_due_keeps_the_later_of_its_accounts_back() -> None:
    queue = [
        waiting(3, "alice"),
        waiting(1, "alice", "bob"),
        waiting(2, "carol", next_at=NOON + timedelta(seconds=1)),
        waiting(4, "carol"),
        waiting(5, "dave"),
    ]
    assert [one.cursor.position for one in free_to_go(queue, NOON, is_ordered=True)] == [1, 3, 5]
    assert [one.cursor.position for one in free_to_go(queue, NOON, is_ordered=False)] == [1, 3, 4, 5]
