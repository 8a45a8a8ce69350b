"""The client's events without a server: lines of a stream, and webhooks against the library of Standard Webhooks."""

import hmac
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.message import Message
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import anyio
import httpx
import pytest
from holdfast_client import (
    AsyncClient,
    Client,
    EventType,
    InvalidWebhook,
    Unavailable,
    event_requests,
    sign_webhook,
    verify_webhook,
)
from holdfast_client.event_streams import EventLines, poll_s
from holdfast_client.models import Event
from holdfast_client.refusals import Unauthenticated
from standardwebhooks import Webhook

SECRET = "whsec_" + b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + b64encode(bytes(24)).decode()
NOW = datetime(2026, 11, 20, 16, 31, tzinfo=UTC)


def event(number: int) -> dict[str, object]:
    """An event as it is sent."""
    return {
        "specversion": "1.0",
        "id": f"evt_{number}",
        "source": "/holdfast/ledger",
        "type": "payment.posted",
        "subject": "pay_1",
        "time": "2026-11-20T16:31:10.160Z",
        "datacontenttype": "application/json",
        "sequence": f"{number}.0.0",
        "data": {"version": 1},
        "of_a_newer_server": True,
    }


def told(lines: EventLines, text: str) -> list[Event]:
    """The events in these lines."""
    return [one for line in text.split("\n") for one in lines.add(line)]


def test_a_stream_is_read_line_by_line_and_its_cursor_moves_without_events_too() -> None:
    lines = EventLines("0.0.0")
    text = (
        f"retry: 250\n\nid: 1.0.0\nevent: payment.posted\ndata: {json.dumps(event(1))}\n\nid: 5.0.0\n: nothing yet\n\n"
    )
    assert [one.id for one in told(lines, text)] == ["evt_1"]
    assert (lines.cursor, lines.retry_s) == ("5.0.0", 0.25)


def test_half_an_event_is_told_again_after_a_break() -> None:
    lines = EventLines("1.0.0")
    assert told(lines, 'id: 2.0.0\ndata: {"id":') == []
    lines.broken()
    assert lines.cursor == "1.0.0"
    assert [one.id for one in told(lines, f"id: 2.0.0\ndata: {json.dumps(event(2))}\n\n")] == ["evt_2"]


def streams(*bodies: bytes) -> tuple[httpx.Client, list[str | None]]:
    """A server that sends these streams, one a connection, and then refuses the key; and where each was to go on."""
    asked: list[str | None] = []
    waiting: Iterator[bytes] = iter(bodies)

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id"))
        body = next(waiting, None)
        if body is None:
            problem = {
                "type": "",
                "title": "",
                "status": 401,
                "code": "unauthenticated",
                "detail": "",
                "retryable": False,
            }
            return httpx.Response(401, json=problem, headers={"content-type": "application/problem+json"})
        return httpx.Response(200, content=body)

    return httpx.Client(transport=httpx.MockTransport(server)), asked


def test_a_broken_stream_goes_on_after_the_last_event_and_tells_none_twice() -> None:
    whole = "".join(f"id: {number}.0.0\ndata: {json.dumps(event(number))}\n\n" for number in (1, 2)).encode()
    http, asked = streams(whole + b"id: 3.0.0\ndata: {", f"id: 3.0.0\ndata: {json.dumps(event(3))}\n\n".encode())
    found = []
    with http, suppress(Unauthenticated):
        for one in Client("http://x", "k", http=http).stream_events("0.0.0"):
            found.append(one.id)
    assert found == ["evt_1", "evt_2", "evt_3"]
    assert asked == ["0.0.0", "2.0.0", "3.0.0"]


AWAY = 1_100
"""So many times a server is away; a power of two so great is no float."""


def at_last(request: httpx.Request) -> httpx.Response:
    """What a server says that is back: one event, as it was asked for."""
    if request.url.path.endswith("/stream"):
        return httpx.Response(200, text=f"id: 8.0.0\ndata: {json.dumps(event(8))}\n\n")
    return httpx.Response(200, json={"data": [event(8)], "next": "8.0.0", "is_end": True})


@pytest.mark.parametrize("name", ["stream_events", "follow_events"])
@pytest.mark.parametrize("is_async", [False, True])
def test_events_go_on_however_long_the_server_is_away(
    name: str, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    broken = iter(range(AWAY))

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    def server(request: httpx.Request) -> httpx.Response:
        if next(broken, None) is not None:
            raise httpx.ConnectError("refused", request=request)
        assert "7.0.0" in (request.headers.get("last-event-id"), request.url.params.get("after"))
        return at_last(request)

    async def first() -> Event:
        async with httpx.AsyncClient(transport=transport) as http:
            async for one in getattr(AsyncClient("http://x", "k", deadline_s=0.0, http=http), name)("7.0.0"):
                return one
        raise AssertionError("it ended")

    monkeypatch.setattr("time.sleep", paused.append)
    monkeypatch.setattr("anyio.sleep", pause)
    transport = httpx.MockTransport(server)
    if is_async:
        assert anyio.run(first).id == "evt_8"
    else:
        with httpx.Client(transport=transport) as http:
            assert next(getattr(Client("http://x", "k", deadline_s=0.0, http=http), name)("7.0.0")).id == "evt_8"
    assert len(paused) >= AWAY
    assert paused[0] < 1.0 < max(paused) <= 5.0


@pytest.mark.parametrize("name", ["stream_events", "follow_events"])
def test_without_a_cursor_events_begin_now_and_stay_there_over_a_break(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def server(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id", request.url.params.get("after")))
        if len(asked) == 1:
            return httpx.Response(200, json={"data": [], "next": "7.0.0", "is_end": True})
        if len(asked) == 2:
            raise httpx.ReadError("reset", request=request)
        return at_last(request)

    monkeypatch.setattr("time.sleep", lambda _: None)
    with httpx.Client(transport=httpx.MockTransport(server)) as http:
        assert next(getattr(Client("http://x", "k", http=http), name)()).id == "evt_8"
    assert asked == ["end", "7.0.0", "7.0.0"]


def test_one_type_may_be_given_by_itself() -> None:
    assert event_requests.read_events(types="payment.posted").query == {"types": "payment.posted"}
    made = event_requests.create_webhook("https://x.test", types="payment.posted").content
    changed = event_requests.change_webhook("e", types="payment.posted").content
    assert made is not None
    assert changed is not None
    assert json.loads(made)["types"] == json.loads(changed)["types"] == ["payment.posted"]


def test_the_types_of_events_are_those_of_the_document() -> None:
    document = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
    assert sorted(get_args(EventType)) == sorted(
        document["components"]["schemas"]["EventBody"]["properties"]["type"]["enum"]
    )


def test_a_stream_from_now_on_needs_a_server_to_begin() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with httpx.Client(transport=httpx.MockTransport(away)) as http, pytest.raises(Unavailable):
        next(Client("http://x", "k", deadline_s=0.2, http=http).stream_events())


def test_a_poll_waits_less_than_the_deadline() -> None:
    assert (poll_s(30.0), poll_s(600.0), poll_s(1.0)) == (15, 20, 0)


# Webhooks


def sent(body: str, secret: str = SECRET, message_id: str = "evt_1") -> dict[str, str]:
    """Headers as the library of Standard Webhooks makes them."""
    signature = Webhook(secret).sign(message_id, NOW, body)
    timestamp = str(int(NOW.timestamp()))
    return {"Webhook-Id": message_id, "Webhook-Timestamp": timestamp, "Webhook-Signature": signature}


BODY = json.dumps(event(1))


def test_a_webhook_that_the_standards_library_signs_is_taken() -> None:
    for body in (BODY, BODY.encode()):
        assert verify_webhook(body, sent(BODY), SECRET, now=NOW.timestamp()).id == "evt_1"


def test_one_of_several_secrets_and_signatures_is_enough() -> None:
    headers = sent(BODY)
    headers["Webhook-Signature"] = f"v1a,xyz {sent(BODY, OTHER)['Webhook-Signature']} {headers['Webhook-Signature']}"
    assert verify_webhook(BODY, headers, [SECRET], now=NOW.timestamp()).id == "evt_1"
    assert verify_webhook(BODY, sent(BODY, OTHER), [SECRET, OTHER], now=NOW.timestamp()).id == "evt_1"


@pytest.mark.parametrize(
    ("body", "changed", "late_s"),
    [
        (BODY + " ", {}, 0),
        (BODY, {"Webhook-Id": "evt_2"}, 0),
        (BODY, {"Webhook-Timestamp": "1"}, 0),
        (BODY, {"Webhook-Timestamp": "soon"}, 0),
        (BODY, {"Webhook-Signature": "v1,AAAA"}, 0),
        (BODY, {"Webhook-Signature": "ü"}, 0),
        (BODY, {}, 301),
        (BODY, {}, -301),
    ],
)
def test_what_was_changed_or_comes_late_is_refused(body: str, changed: dict[str, str], late_s: int) -> None:
    with pytest.raises(InvalidWebhook):
        verify_webhook(body, sent(BODY) | changed, SECRET, now=NOW.timestamp() + late_s)


def test_a_webhook_without_signature_or_of_another_secret_is_refused() -> None:
    for headers in ({}, sent(BODY, OTHER)):
        with pytest.raises(InvalidWebhook):
            verify_webhook(BODY, headers, SECRET, now=NOW.timestamp())


@pytest.mark.parametrize(
    "secret", ["", "whsec_", [""], [SECRET, ""], [], None, [None], "whsec_" + b64encode(bytes(23)).decode(), "whsec_ü"]
)
def test_without_a_secret_nothing_is_believed_not_even_what_the_empty_key_signs(secret: Any) -> None:
    signed = f"evt_1.{int(NOW.timestamp())}.{BODY}".encode()
    signature = b64encode(hmac.digest(b"", signed, sha256)).decode()
    headers = sent(BODY) | {"Webhook-Signature": f"v1,{signature}"}
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(BODY, headers, secret, now=NOW.timestamp())


def test_a_receiver_is_tried_with_what_the_standards_library_would_sign() -> None:
    wanted = {name.lower(): value for name, value in sent(BODY).items()}
    for body in (BODY, BODY.encode()):
        assert sign_webhook(body, SECRET, now=NOW.timestamp()) == wanted


def test_the_headers_of_the_standard_librarys_server_will_do() -> None:
    headers = Message()
    for name, value in sent(BODY).items():
        headers[name] = value
    assert verify_webhook(BODY, headers, SECRET, now=NOW.timestamp()).id == "evt_1"
