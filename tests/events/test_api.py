"""Events, webhooks and monitors over HTTP."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.services.access.api_keys import Scope
from tests.api.world import World, assert_problem


def events(api: World, query: str = "", **more: Any) -> dict[str, Any]:
    response = api.get(f"/v1/events{query}", **more)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.get_json()
    return body


def test_the_feed_is_read_by_pages(api: World) -> None:
    api.funded("alice")
    whole = events(api, "?limit=1000")
    assert whole["is_end"]
    assert {"account.opened", "payment.posted", "balance.updated"} == {one["type"] for one in whole["data"]}
    met, after, is_end = [], "0", False
    while not is_end:
        page = events(api, f"?limit=2&after={after}")
        met += page["data"]
        after, is_end = page["next"], page["is_end"]
    assert met == whole["data"]
    assert events(api, f"?after={whole['data'][-1]['sequence']}")["data"] == []
    assert events(api, "?after=end")["next"] == whole["next"]


def test_what_is_wanted_is_chosen(api: World) -> None:
    api.funded("alice")
    opened = events(api, "?types=account.opened")["data"]
    assert {one["subject"] for one in opened} == {"alice", "clearing:bank"}
    about = events(api, "?account_id=alice&types=balance.updated,account.opened")["data"]
    assert [one["type"] for one in about] == ["account.opened", "balance.updated"]


def test_a_reader_at_the_end_waits_for_the_next_event(api: World) -> None:
    api.funded("alice")
    end = events(api, "?after=end")["next"]
    assert events(api, f"?after={end}&wait=1")["data"] == []
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(events, api, f"?after={end}&wait=30")
        api.account("bob")
        assert [one["subject"] for one in waiting.result()["data"]] == ["bob"]


def test_what_cannot_be_read_is_refused(api: World) -> None:
    assert_problem(api.get("/v1/events?after=x"), 400, "invalid_cursor")
    assert_problem(api.get("/v1/events?after=999999"), 400, "invalid_cursor")
    for ahead_or_none in ("999999", "x"):  # a client has its own name for it: after
        asked = api.get("/v1/events/stream", headers={"Last-Event-ID": ahead_or_none})
        problem = assert_problem(asked, 400, "invalid_cursor")
        assert problem["detail"].startswith("after (Last-Event-ID) must ")
    assert_problem(api.get("/v1/events?types=payment"), 400, "malformed_request")
    assert_problem(api.get("/v1/events?wait=31"), 400, "malformed_request")
    assert_problem(api.get("/v1/events", key=api.key_with(Scope.ACCOUNTS_READ)), 403, "forbidden")


def sent(response: Any, count: int) -> list[dict[str, str]]:
    """The first server-sent events of a stream."""
    found: list[dict[str, str]] = []
    text = ""
    for piece in response.response:
        text += piece.decode()
        *blocks, text = text.split("\n\n")
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
            if "data" in fields:
                found.append(fields)
        if len(found) >= count:
            response.close()
            return found[:count]
    raise AssertionError("the stream has ended")


def stream(api: World, query: str = "", **headers: str) -> Any:
    headers = {
        "Authorization": f"Bearer {api.key}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    response = api.application.test_client().get(f"/v1/events/stream{query}", headers=headers)
    assert response.status_code == 200
    assert response.content_type == "text/event-stream"
    return response


def test_a_stream_goes_on_after_the_last_event_id(api: World) -> None:
    api.funded("alice")
    whole = events(api, "?limit=1000")["data"]
    first = sent(stream(api, "?after=0"), 2)
    rest = sent(stream(api, Last_Event_ID=first[-1]["id"]), len(whole) - 2)
    assert [json.loads(one["data"]) for one in (*first, *rest)] == whole
    assert [one["event"] for one in first] == [one["type"] for one in whole[:2]]


def test_a_stream_without_a_cursor_begins_now(api: World) -> None:
    api.funded("alice")
    following = stream(api)
    api.account("bob")
    [one] = sent(following, 1)
    assert json.loads(one["data"])["subject"] == "bob"


def test_there_is_a_bound_of_readers_that_wait(api: World) -> None:
    api.account("alice")
    for _ in range(24):
        assert api.services.feed.enter()
    assert_problem(api.get("/v1/events/stream"), 503, "too_many_streams", retryable=True)
    end = events(api, "?after=end")["next"]
    assert events(api, f"?after={end}&wait=30")["data"] == [], "answered at once"
    api.services.feed.leave()
    stream(api).close()
    stream(api).close()


# Webhooks


def test_an_endpoint_is_made_shown_changed_and_deleted(api: World) -> None:
    made = api.post("/v1/webhooks", {"url": "http://127.0.0.1:9/x", "types": ["payment.posted"], "ordered": True})
    assert made.status_code == 201, made.text
    body = made.get_json()
    assert body.pop("secret").startswith("whsec_")
    path = made.headers["Location"]
    assert api.get(path).get_json() == body
    assert api.get("/v1/webhooks").get_json()["data"] == [body]
    changed = api.call("PATCH", path, data=b'{"state": "disabled", "types": null}', content_type="application/json")
    assert changed.get_json() == {**body, "state": "disabled", "types": None}
    rotated = api.post(f"{path}/rotate")
    assert rotated.status_code == 201
    assert rotated.get_json()["secret"]
    assert api.get(f"{path}/deliveries").get_json() == {"data": [], "next": None}
    assert api.get(f"{path}/dead-letters").get_json() == {"data": [], "next": None}
    assert api.post(f"{path}/resend").get_json() == {"events": 0}
    assert_problem(api.post(f"{path}/resend", {"event_ids": ["evt_\x9b"]}), 422, "invalid_id")
    assert api.call("DELETE", path).status_code == 200
    assert_problem(api.get(path), 404, "not_found")
    assert api.get("/v1/webhooks").get_json()["data"] == []
    actions = api.sql("SELECT action FROM audit_call WHERE action LIKE 'webhook.%%' ORDER BY called_at, number")
    assert [one for (one,) in actions] == [
        *("webhook.create", "webhook.change", "webhook.rotate", "webhook.resend", "webhook.change")
    ]
    kept = api.sql("SELECT coalesce(response, '') || coalesce(request, '') FROM audit_call")
    assert not any("whsec_" in text for (text,) in kept), "no secret is on record"


def test_an_endpoint_that_cannot_be_is_refused(api: World) -> None:
    for body in (
        {"url": "ftp://example.org"},
        {"url": "https://example.org", "types": ["nothing"]},
        {"url": "https://example.org", "types": []},
        {"url": "https://example.org", "more": 1},
    ):
        assert_problem(api.post("/v1/webhooks", body), 400, "malformed_request")
    nobody = {"url": "https://example.org", "account_id": "nobody"}
    assert_problem(api.post("/v1/webhooks", nobody), 404, "account_not_found")
    strict = api.with_settings(allow_private_webhooks=False)
    assert_problem(strict.post("/v1/webhooks", {"url": "https://10.0.0.1/"}), 400, "malformed_request")
    for path in ("", "/deliveries", "/dead-letters"):
        assert_problem(api.get(f"/v1/webhooks/whe_none{path}"), 404, "not_found")
    for path in ("rotate", "resend"):
        assert_problem(api.post(f"/v1/webhooks/whe_none/{path}"), 404, "not_found")


# Monitors


def test_a_monitor_is_made_shown_and_ended(api: World) -> None:
    api.funded("alice", 100)
    body = {"account_id": "alice", "measure": "available", "comparison": "below", "threshold_minor": 500}
    made = api.post("/v1/monitors", body)
    assert made.status_code == 201, made.text
    shown = made.get_json()
    assert shown["is_met"] is True
    assert api.get(made.headers["Location"]).get_json() == shown
    assert api.get("/v1/monitors?account_id=alice").get_json()["data"] == [shown]
    assert api.get("/v1/monitors?account_id=bob").get_json()["data"] == []
    ended = api.call("DELETE", made.headers["Location"]).get_json()
    assert ended["ended_at"]
    assert api.get("/v1/monitors").get_json()["data"] == []
    assert_problem(api.post("/v1/monitors", {**body, "account_id": "nobody"}), 404, "account_not_found")
    assert_problem(api.post("/v1/monitors", {**body, "measure": "x"}), 400, "malformed_request")
    assert_problem(api.get("/v1/monitors/mon_none"), 404, "not_found")
