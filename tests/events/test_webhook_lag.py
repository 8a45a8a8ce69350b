"""How far endpoints are behind: true by the ledger alone, so also while nobody delivers."""

from datetime import datetime, timedelta

import pytest

from app.domain.events import BEGINNING, Cursor, after_all_of
from app.domain.monitors import Comparison, Measure, NewMonitor
from app.domain.webhooks import RETRIED_FOR, Lag
from app.ledger import webhooks
from app.ledger.monitors import LedgerMonitors
from app.services.events.endpoints import IssuedEndpoint
from app.services.events.monitors import Monitors
from tests import hot_state
from tests.api.test_metrics import value
from tests.api.world import World as ApiWorld
from tests.events.desk import Desk
from tests.events.receiver import Receiver
from tests.events.test_monitors import follower_of
from tests.events.world import read

TWO_HOURS_AGO = "UPDATE ledger_transaction SET posted_at = posted_at - interval '2 hours'"
TWO_HOURS_S = 7_200.0


def lag(desk: Desk, issued: IssuedEndpoint) -> Lag:
    return desk.endpoints.ledger.lags()[issued.endpoint.endpoint_id]


def head(desk: Desk) -> int:
    """The last position that somebody gave."""
    [(position,)] = desk.world.rows("SELECT position FROM event_head")
    return int(position)


def pay_in_batches(desk: Desk, count: int) -> None:
    for _ in range(count):
        desk.pay()


def told_up_to(desk: Desk, issued: IssuedEndpoint, cursor: Cursor) -> None:
    """Have an endpoint be told of everything up to a cursor, and of nothing after it."""
    place = dict(zip(("position", "part", "slot"), cursor, strict=True))
    desk.endpoints.ledger.change(issued.endpoint.endpoint_id, place, "key:test")


def test_it_grows_while_no_deliverer_runs_and_nobody_reads_events(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    assert lag(desk, issued) == Lag(0.0, 0, waits=False)
    before = head(desk)
    pay_in_batches(desk, 3)
    first = lag(desk, issued)
    assert (first.unread, first.waits) == (3, False)
    assert lag(desk, issued).seconds > first.seconds > 0
    desk.world.tamper(TWO_HOURS_AGO)
    assert lag(desk, issued).seconds > TWO_HOURS_S
    assert head(desk) == before, "to tell it, no events are read"
    desk.feed.sequence()
    later = lag(desk, issued)
    assert later.seconds > TWO_HOURS_S, "who reads the feed delivers nothing"
    assert later.unread == 3
    desk.rounds(issued)
    assert lag(desk, issued) == Lag(0.0, 0, waits=False)


def test_what_the_endpoint_does_not_want_counts_until_it_was_looked_at(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver, account_id="somebody-else")
    desk.pay()
    assert lag(desk, issued).unread == 1
    desk.rounds(issued)
    assert lag(desk, issued) == Lag(0.0, 0, waits=False)
    assert receiver.arrived == []


def test_more_than_are_counted_are_estimated(desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = desk.made(receiver)
    pay_in_batches(desk, 5)
    desk.feed.sequence()
    pay_in_batches(desk, 2)
    assert lag(desk, issued).unread == 7
    monkeypatch.setattr(webhooks, "COUNTED_POSITIONS", 2)
    assert lag(desk, issued).unread == 7


def test_a_batch_that_is_told_in_part_counts_with_the_rest(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    desk.pay(3)
    desk.feed.sequence()
    [batch] = {one.cursor.position for one in read(desk.feed, issued.endpoint.cursor)}
    for cursor, unread in ((Cursor(batch, 1, 0), 2), (Cursor(batch, 2, 1), 1), (after_all_of(batch), 0)):
        told_up_to(desk, issued, cursor)
        assert lag(desk, issued).unread == unread
        assert (lag(desk, issued).seconds > 0) is (unread > 0)


def test_it_is_the_age_of_the_event_whatever_the_event_tells(desk: Desk, receiver: Receiver) -> None:
    """Every kind of row that events are made of, each as the oldest that was not read."""
    world = desk.world
    issued = desk.made(receiver)
    monitor = NewMonitor("alice", Measure.AVAILABLE, Comparison.BELOW, 990)
    Monitors(LedgerMonitors(world.engine)).create(monitor, "key:test")
    world.accepted("alice", "bob", 20, manual_capture=True)
    desk.pay()
    follower_of(world).run_once()
    hot_state.put(world.client, world.account_key("alice"), balance=5_000)
    world.accepted("alice", "bob", 4_000)
    assert world.drain().rejected == 1
    world.tamper("UPDATE account_balance SET balance_minor = balance_minor + 1 WHERE account_id = 'alice'")
    world.reconcile()
    kinds = set()
    for event in read(desk.feed):
        told_up_to(desk, issued, event.cursor._replace(slot=event.cursor.slot - 1))
        before = clock(desk)
        told = lag(desk, issued)
        kinds.add(event.type.value.partition(".")[0])
        assert told.seconds >= (before - event.at).total_seconds(), event
    assert {"account", "payment", "balance", "monitor"} <= kinds, kinds
    kinds_of_rows = {kind for (kind,) in world.rows("SELECT DISTINCT kind FROM event_log")}
    assert kinds_of_rows == {"account", "break", "chain", "hold", "monitor", "rejection"}


def clock(desk: Desk) -> datetime:
    [(now,)] = desk.world.rows("SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    return now


def test_an_account_opened_lately_does_not_hide_what_is_older(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    desk.pay()
    desk.world.tamper(TWO_HOURS_AGO)
    desk.world.account("carol")
    desk.feed.sequence()
    [first, *_] = read(desk.feed, issued.endpoint.cursor)
    assert first.subject == "carol", "it is told first"
    assert lag(desk, issued).seconds > TWO_HOURS_S


def test_what_an_endpoint_refuses_keeps_its_age_until_it_is_dead(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    receiver.answer = lambda *_: 500
    desk.pay()
    desk.world.tamper(TWO_HOURS_AGO)
    desk.rounds(issued)
    refused = lag(desk, issued)
    assert (refused.unread, refused.waits) == (0, True)
    assert refused.seconds > TWO_HOURS_S, "it did not begin when it was tried first"
    desk.rounds(issued, later=RETRIED_FOR + timedelta(hours=1))
    assert lag(desk, issued) == Lag(0.0, 0, waits=False), "what is dead is not tried"
    assert desk.endpoints.resend(issued.endpoint.endpoint_id, None, "user:anna", None)
    assert lag(desk, issued).waits


def test_who_is_not_told_has_no_lag_and_who_was_deleted_no_figures(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    endpoint_id = issued.endpoint.endpoint_id
    receiver.answer = lambda *_: 500
    desk.pay()
    desk.rounds(issued)
    desk.endpoints.change(endpoint_id, {"state": "disabled"}, "user:anna", None)
    assert desk.endpoints.ledger.lags() == {}
    assert desk.endpoints.ledger.counts().keys() == {endpoint_id}
    desk.endpoints.delete(endpoint_id, "user:anna", None)
    assert desk.endpoints.ledger.counts() == {}


def test_an_endpoint_from_the_beginning_is_behind_by_everything(desk: Desk, receiver: Receiver) -> None:
    issued = desk.made(receiver)
    told_up_to(desk, issued, BEGINNING)
    [(rows,)] = desk.world.rows("SELECT sum(coalesce(last_seq - first_seq + 1, 1)) FROM event_log")
    assert lag(desk, issued).unread == rows


def test_the_metrics_and_readiness_tell_it_without_a_deliverer(api: ApiWorld) -> None:
    made = api.post("/v1/webhooks", {"url": "http://127.0.0.1:1/hook"}).get_json()
    api.funded("alice")
    text = api.get("/metrics").text
    of = f'endpoint_id="{made["endpoint_id"]}"'
    assert value(text, f"holdfast_webhook_lag_seconds{{{of}}}") > 0
    assert value(text, f'holdfast_webhook_events{{{of},state="unread"}}') > 0
    assert value(text, f'holdfast_webhook_events{{{of},state="waiting"}}') == 0
    assert api.get("/readyz", key=None).get_json()["checks"]["webhooks"]["ok"]
    api.sql(f"SET session_replication_role = replica; {TWO_HOURS_AGO}")
    body = api.get("/readyz", key=None).get_json()
    assert not body["checks"]["webhooks"]["ok"]
    assert made["endpoint_id"] in body["checks"]["webhooks"]["detail"]
