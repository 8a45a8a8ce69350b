"""The pages of events, webhooks and monitors: what was told, to whom, what was given up, and sending it again."""

import asyncio
import random
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from app.dashboard import events
from app.domain.users import Role
from app.domain.webhooks import RETRIED_FOR, NewEndpoint
from app.ledger import events as feed
from app.ledger.engine import rows_of
from app.ledger.events import EventFeed
from app.ledger.webhook_deliveries import LedgerDeliveries
from app.services.events.endpoint_work import EndpointWork
from app.webhook_sender import WebhookSender
from app.wiring.services import build_engine
from tests.api.world import BANK
from tests.dashboard.world import World, text_of
from tests.events.receiver import Receiver, receiving


def delivered(world: World, endpoint_id: str, later: timedelta = timedelta()) -> None:
    """One round of the deliverer for an endpoint."""

    async def work() -> None:
        engine = build_engine(world.settings, "test")
        ledger, feed = LedgerDeliveries(engine), EventFeed(rows_of(engine))
        feed.sequence()
        [endpoint] = [one for one in ledger.endpoints() if one.endpoint_id == endpoint_id]
        sender = WebhookSender(allow_private=True)
        work = EndpointWork(endpoint, ledger, feed, sender, lambda: datetime.now(UTC) + later, random.random)
        work.secrets = ledger.secrets()[endpoint_id]
        await work.round()
        while work.is_sending:
            await work.round()
        await sender.close()
        engine.dispose()

    asyncio.run(work())


def refuse_balances(_: Receiver, event: dict[str, object]) -> int:
    return 500 if event["type"] == "balance.updated" else 200


def furnished(world: World, receiver: Receiver) -> str:
    """Events that were delivered, and some that were given up; the id of the endpoint."""
    world.settings = world.with_settings(allow_private_webhooks=True).settings
    world.funded("alice", 50_000)
    made = world.services.endpoints.create(NewEndpoint(receiver.url, "The shop", is_ordered=True), "key:test")
    condition = {"measure": "available", "comparison": "below", "threshold_minor": 100_000, "name": "Float of Alice"}
    assert world.post("/v1/monitors", {"account_id": "alice", **condition}).status_code == 201
    receiver.answer = refuse_balances
    world.account("bob")
    for _ in range(3):
        world.pay("alice", "bob", 1_250)
        world.drained()
    endpoint_id = made.endpoint.endpoint_id
    delivered(world, endpoint_id)
    delivered(world, endpoint_id, RETRIED_FOR + timedelta(hours=1))
    return endpoint_id


@pytest.fixture
def endpoint(world: World) -> str:
    with receiving() as receiver:
        return furnished(world, receiver)


def test_events_are_listed_the_latest_first_and_after_a_place(world: World, endpoint: str) -> None:
    viewer = world.signed_in(Role.VIEWER)
    page = text_of(viewer.page("/events"))
    assert page.index("payment.posted") < page.index("account.opened")
    only = text_of(viewer.page("/events?type=account.opened"))
    assert "alice" in only
    assert "balance.updated evt" not in only
    first = text_of(viewer.page("/events?after=0"))
    assert "in order from a place in the feed" in first
    assert "is no place in the feed" in text_of(viewer.page("/events?after=x"))


@pytest.mark.parametrize("filters", ["", "&type=balance.updated", "&account_id=bob"])
def test_the_pager_leads_back_to_the_first_event_and_misses_none(
    world: World, endpoint: str, monkeypatch: pytest.MonkeyPatch, filters: str
) -> None:
    viewer = world.signed_in(Role.VIEWER)
    wanted = sequences(viewer.page(f"/events?after=0{filters}"))
    monkeypatch.setattr(events, "LISTED", 2)
    monkeypatch.setattr(feed, "LOOKED_AT", 3)
    page = viewer.page(f"/events?view={filters}")
    met = sequences(page)
    while earlier := re.search(r'rel="next" href="([^"]+)">Earlier', page):
        page = viewer.page(unescape(earlier[1]))
        met += sequences(page)
        assert sequences(page)
    assert met == wanted[::-1]
    assert len(met) > 2


def test_the_pager_goes_on_past_a_stretch_without_such_events(
    world: World, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LOOKS_BACK", 1)
    monkeypatch.setattr(feed, "LOOKED_AT", 2)
    viewer = world.signed_in(Role.VIEWER)
    page = viewer.page("/events?type=account.opened&account_id=alice")
    assert "No event fits these filters among the latest." in text_of(page)
    while further := re.search(r'href="([^"]+)">Look further back', page):
        page = viewer.page(unescape(further[1]))
    assert len(sequences(page)) == 1


def sequences(page: str) -> list[str]:
    return re.findall(r'data-label="Sequence">([^<]+)<', page)


def test_what_nobody_reads_is_not_called_delivered(world: World) -> None:
    world.settings = world.with_settings(allow_private_webhooks=True).settings
    world.funded("alice", 50_000)
    made = world.services.endpoints.create(NewEndpoint("http://127.0.0.1:1/x", "The shop"), "key:test")
    viewer = world.signed_in(Role.VIEWER)
    pages = ("/webhooks", f"/webhooks/{made.endpoint.endpoint_id}")
    assert all("Everything is delivered" in text_of(viewer.page(path)) for path in pages)
    world.pay(BANK, "alice", 1)
    world.drained()
    assert all("1 about to be told" in text_of(viewer.page(path)) for path in pages)
    world.sql(
        "SET session_replication_role = replica;"
        " UPDATE ledger_transaction SET posted_at = posted_at - interval '1 hour'"
    )
    for path in pages:
        page = text_of(viewer.page(path))
        assert "is the deliverer at work?" in page
        assert "1 unread" in page


def test_a_dead_letter_is_shown_and_sent_again(world: World, endpoint: str) -> None:
    path = f"/webhooks/{endpoint}"
    assert "given up" in text_of(world.signed_in(Role.VIEWER).page("/webhooks"))
    page = text_of(world.signed_in(Role.VIEWER).page(path))
    assert "Dead letters" in page
    assert "500 not now" in page
    assert "Send again" not in page, "a viewer only looks"
    controller = world.signed_in(Role.CONTROLLER)
    _, dead = world.page_services.webhooks.counts()[endpoint]
    response = controller.send(path, f"{path}/resend")
    assert response.status_code == 303
    waiting, none = world.page_services.webhooks.counts()[endpoint]
    assert (waiting >= dead, none) == (True, 0)
    assert world.sql("SELECT actor FROM audit_call WHERE action = 'webhook.resend'") == [("user:a-controller",)]


def test_an_endpoint_is_disabled_and_enabled_again(world: World, endpoint: str) -> None:
    path = f"/webhooks/{endpoint}"
    controller = world.signed_in(Role.CONTROLLER)
    for state in ("disabled", "enabled"):
        assert controller.send(path, f"{path}/state", state=state).status_code == 303
        found = world.page_services.webhooks.get(endpoint)
        assert found is not None
        assert found.state.value == state
    assert controller.send(path, f"{path}/state", state="deleted").status_code == 400


def test_monitors_are_listed_with_their_conditions(world: World, endpoint: str) -> None:
    page = text_of(world.signed_in(Role.VIEWER).page("/monitors"))
    assert "Float of Alice" in page
    assert "available below" in page
    assert "1,000.00" in page
