"""The feed: every event once, in order, derived from what the ledger holds, whatever commits late."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread

import psycopg
import pytest

from app.domain.account_changes import AccountPatch
from app.domain.events import BEGINNING, EventType, Wanted, after_all_of, parse_cursor
from app.ledger.account_changes import LedgerAccountChanges
from app.services.payments.outcomes import Accepted
from tests import hot_state
from tests.builders import account_in
from tests.events.world import assert_complete, feed_of, read, told
from tests.patience import until
from tests.world import World


def test_a_ledger_without_anything_has_no_events(world: World) -> None:
    assert read(feed_of(world)) == []


def test_a_payment_is_told_with_the_balances_after_it(world: World) -> None:
    feed = feed_of(world)
    world.account("alice", balance_minor=500)
    world.account("bob")
    before = read(feed)
    accepted = world.accepted("alice", "bob", 200, metadata={"order": 7})
    world.drain()
    payment, *balances = read(feed, before[-1].cursor)
    assert (payment.type, payment.subject, payment.version) == (
        EventType.PAYMENT_POSTED,
        accepted.outbox_position.payment_id,
        1,
    )
    assert payment.data["amount_minor"] == 200
    assert payment.data["metadata"] == {"order": 7}
    assert [(leg["account_id"], leg["direction"]) for leg in payment.data["entries"]] == [
        ("alice", "debit"),
        ("bob", "credit"),
    ]
    assert {one.subject: (one.data["balance_minor"], one.data["available_minor"]) for one in balances} == {
        "alice": (300, 300),
        "bob": (200, 200),
    }
    document = payment.document()
    assert {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"} <= document.keys()
    assert parse_cursor(document["sequence"]) == payment.cursor
    assert_complete(world, read(feed))


def test_one_balance_is_told_for_an_account_and_a_batch(world: World) -> None:
    feed = feed_of(world)
    world.account("alice", balance_minor=1_000)
    shop = world.account("shop")
    end = after_all_of(feed.sequence())
    for _ in range(5):
        world.accepted("alice", shop, 10)
    world.drain()
    assert [one.subject for one in read(feed, end) if one.type is EventType.BALANCE_UPDATED].count(shop) == 1
    assert_complete(world, read(feed))


def test_an_authorization_is_told_from_its_beginning_to_its_end(world: World) -> None:
    feed = feed_of(world)
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    end = after_all_of(feed.sequence())
    kept = [world.accepted("alice", "bob", 100, manual_capture=True).outbox_position.payment_id for _ in range(3)]
    world.drain()
    begun = read(feed, end)
    assert told(begun)[:3] == [("payment.authorized", one) for one in kept]
    [balance] = [one for one in begun if one.type is EventType.BALANCE_UPDATED]
    assert (balance.data["held_minor"], balance.data["available_minor"]) == (300, 700)
    world.authorizations.capture(kept[0], 60, "key:test")
    world.authorizations.void(kept[1], "key:test")
    world.drain()
    ended = read(feed, begun[-1].cursor)
    assert [one for one in told(ended) if one[0] != "balance.updated"] == [
        ("payment.voided", kept[1]),
        ("payment.captured", kept[0]),
    ]
    [last] = [one for one in ended if one.type is EventType.BALANCE_UPDATED and one.subject == "alice"]
    assert (last.data["balance_minor"], last.data["held_minor"], last.data["available_minor"]) == (940, 100, 840)
    assert all(one.version == 2 for one in ended if one.type is not EventType.BALANCE_UPDATED)
    assert_complete(world, read(feed))


def test_a_rejection_and_changes_of_an_account_are_told(world: World) -> None:
    feed = feed_of(world)
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    end = after_all_of(feed.sequence())
    changes = LedgerAccountChanges(world.engine)
    with changes.changing("bob") as change:
        change.write({"name": "Bob"}, AccountPatch({"name": "Bob"}, "a wish"), "key:test")
    world.warm("alice")
    hot_state.put(world.client, world.account_key("alice"), balance=5_000)
    refused = world.accepted("alice", "bob", 4_000).outbox_position.payment_id
    assert world.drain().rejected == 1
    events = read(feed, end)
    assert ("payment.rejected", refused) in told(events)
    [rejected] = [one for one in events if one.type is EventType.PAYMENT_REJECTED]
    assert (rejected.data["code"], rejected.data["amount_minor"]) == ("insufficient_funds", 4_000)
    assert ("account.changed", "bob") in told(events)
    [changed] = [one for one in events if one.type is EventType.ACCOUNT_CHANGED]
    assert changed.data["after"] == {"name": "Bob"}
    assert changed.version > 0


def test_a_break_is_told_when_it_opens_and_when_it_is_settled(world: World) -> None:
    feed = feed_of(world)
    world.account("alice", balance_minor=100)
    end = after_all_of(feed.sequence())
    world.tamper("UPDATE account_balance SET balance_minor = balance_minor + 1 WHERE account_id = 'alice'")
    world.reconcile()
    world.tamper("UPDATE account_balance SET balance_minor = balance_minor - 1 WHERE account_id = 'alice'")
    world.reconcile()
    breaks = [one for one in read(feed, end) if one.type.value.startswith("reconciliation.")]
    opened = [one for one in breaks if one.type is EventType.BREAK_OPENED]
    resolved = [one for one in breaks if one.type is EventType.BREAK_RESOLVED]
    assert "balance_not_sum" in {one.data["kind"] for one in opened}
    assert {one.subject: one.version for one in opened}.keys() == {one.subject for one in resolved}
    assert len(breaks) == len(opened) + len(resolved) == 2 * len(opened)
    assert_complete(world, read(feed))


def test_a_balance_tells_the_limit_of_its_own_time(world: World) -> None:
    """What an event says does not change when the limit does."""
    feed = feed_of(world)
    world.account("alice", balance_minor=1_000)
    changes = LedgerAccountChanges(world.engine)
    first = read(feed)
    with changes.changing("alice") as change:
        change.lock_balance()
        change.write(
            {"overdraft_limit_minor": 50}, AccountPatch({"overdraft_limit_minor": 50}, "a promise"), "key:test"
        )
    unsequenced = feed.page(BEGINNING, 1_000)
    assert [one.document() for one in unsequenced.events] == [one.document() for one in first]
    world.fund("alice", 1)
    again = read(feed)
    assert [one.document() for one in again[: len(first)]] == [one.document() for one in first]
    [last] = [one for one in again if one.subject == "alice" and one.type is EventType.BALANCE_UPDATED][-1:]
    assert last.data["available_minor"] == 1_051


# Whatever commits late


@contextmanager
def open_account(world: World, account_id: str) -> Iterator[psycopg.Connection[object]]:
    """A transaction that has opened an account, and has not committed."""
    connection = world.connect()
    with connection.transaction():
        connection.execute(
            "INSERT INTO account (account_id, entity_id, type, currency_code, created_by)"
            " VALUES (%s, 'default', 'equity', 'EUR', 'tests')",
            (account_id,),
        )
        connection.execute(
            "INSERT INTO account_balance (account_id, entity_id, currency_code, normal_sign)"
            " VALUES (%s, 'default', 'EUR', -1)",
            (account_id,),
        )
        connection.execute(
            "INSERT INTO audit_event (actor, action, subject, detail) VALUES ('tests', 'account.create', %s, '{}')",
            (account_id,),
        )
        yield connection


def test_what_commits_late_comes_later_and_is_not_skipped(world: World) -> None:
    feed = feed_of(world)
    with open_account(world, "late"):
        with open_account(world, "early"):
            pass
        seen = read(feed)
        assert told(seen) == [("account.opened", "early")]
    after = read(feed, seen[-1].cursor)
    assert told(after) == [("account.opened", "late")]
    assert int(after[0].event_id.split("_")[-1]) < int(seen[0].event_id.split("_")[-1]), "its row was written earlier"
    assert_complete(world, read(feed))


def test_what_is_rolled_back_is_never_told(world: World) -> None:
    feed = feed_of(world)
    with open_account(world, "never"):
        assert read(feed) == []
        raise psycopg.Rollback
    assert read(feed) == []


LATE = """
CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WHILE NOT pg_try_advisory_xact_lock_shared(4711) LOOP PERFORM pg_sleep(0.01); END LOOP;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ledger_transaction DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.partition = 0) EXECUTE FUNCTION wait_at_commit();
GRANT EXECUTE ON FUNCTION wait_at_commit() TO PUBLIC;
"""
COMMITTING = """
SELECT count(*) FROM pg_stat_activity
WHERE state = 'active' AND query = 'COMMIT' AND datname = current_database()
"""


def test_a_batch_that_commits_late_keeps_its_chains_order(world: World) -> None:
    """A posting of one partition stays open while others commit; the reader meets it afterwards, whole."""
    feed = feed_of(world)
    slow, quick = account_in(0, "slow"), account_in(1, "quick")
    for one in (slow, quick):
        world.account(one, balance_minor=1_000)
    seen = read(feed)
    world.owner.execute(LATE)
    gate = world.connect()
    gate.execute("SELECT pg_advisory_lock(4711)")
    world.accepted(slow, quick, 1)
    blocked = Thread(target=world.new_drain().run_once)
    blocked.start()
    until(lambda: world.rows(COMMITTING) == [(1,)])
    with open_account(world, "meanwhile"):
        pass
    between = read(feed, seen[-1].cursor)
    assert told(between) == [("account.opened", "meanwhile")]
    gate.execute("SELECT pg_advisory_unlock(4711)")
    blocked.join()
    late = read(feed, between[-1].cursor)
    assert [kind for kind, _ in told(late)] == ["payment.posted", "balance.updated", "balance.updated"]
    assert_complete(world, read(feed))


WITHOUT_POSITION = """
SELECT kind || source_id FROM event_notice
UNION ALL SELECT partition::text FROM partition p JOIN event_chain c USING (partition) WHERE p.chain_seq > c.chain_seq
"""


def test_readers_at_work_meet_each_event_once_while_everything_commits(world: World) -> None:
    """Drains, openings and authorizations at once; readers with pages of any size follow, and give positions too."""
    accounts = [account_in(number % 4, f"w{number}") for number in range(6)]
    for one in accounts:
        world.account(one, balance_minor=10_000)
    stopped = Flag()
    all_have_positions = Flag()
    dice = random.Random(17)

    def follow(size: int) -> list[str]:
        feed, after, met = feed_of(world), BEGINNING, []
        while True:
            is_last = all_have_positions.is_set()
            head = feed.sequence()
            page = feed.page(after, size)
            met += [one.event_id for one in page.events]
            after = page.cursor
            if is_last and page.is_end and after.position == head:
                return met

    def drain() -> None:
        worker = world.new_drain(clock=time.monotonic)
        while not stopped.is_set():
            worker.run_once()

    with ThreadPoolExecutor() as threads:
        readers = [threads.submit(follow, size) for size in (1, 7, 500)]
        drains = [threads.submit(drain) for _ in range(2)]
        kept: list[str] = []
        for number in range(150):
            source, destination = dice.sample(accounts, 2)
            outcome = world.pay(source, destination, 1, manual_capture=number % 5 == 0)
            if isinstance(outcome, Accepted) and number % 5 == 0:
                kept.append(outcome.outbox_position.payment_id)
            if number % 10 == 9:
                world.authorizations.void(kept.pop(), "key:test")
                with open_account(world, f"opened-{number}"):
                    pass
        until(lambda: not any(world.cache.outbox.backlog().values()))
        stopped.set()
        for one in drains:
            one.result()
        until(lambda: world.rows(WITHOUT_POSITION) == [])  # a reader gives none while another one does
        all_have_positions.set()
        met = [one.result() for one in readers]
    assert met[0] == met[1] == met[2]
    events = read(feed_of(world))
    assert met[0] == [one.event_id for one in events]
    assert_complete(world, events)


# Which events


def test_pages_of_any_size_tell_the_same(world: World) -> None:
    feed = feed_of(world)
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    for _ in range(4):
        world.accepted("alice", "bob", 1)
    world.accepted("alice", "bob", 1, manual_capture=True)
    world.drain()
    whole = [one.document() for one in read(feed)]
    for limit in (1, 2, 3, 5):
        assert [one.document() for one in read(feed, limit=limit)] == whole


def test_a_cursor_of_any_event_goes_on_after_it(world: World) -> None:
    feed = feed_of(world)
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    world.accepted("alice", "bob", 1)
    world.drain()
    events = read(feed)
    for number, one in enumerate(events):
        cursor = parse_cursor(str(one.cursor))
        assert cursor is not None
        assert [other.event_id for other in read(feed, cursor)] == [other.event_id for other in events[number + 1 :]]


def test_a_reader_gets_the_types_the_account_and_the_entities_that_it_wants(world: World) -> None:
    feed = feed_of(world)
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    world.account("north", entity_id="north")
    world.accepted("alice", "bob", 1)
    world.accepted("alice", "bob", 1, manual_capture=True)
    world.drain()
    everything = read(feed)
    for wanted in (
        Wanted(types={EventType.PAYMENT_POSTED}),
        Wanted(types={EventType.BALANCE_UPDATED}),
        Wanted(types={EventType.ACCOUNT_OPENED, EventType.PAYMENT_AUTHORIZED}),
        Wanted(account_id="bob"),
        Wanted(account_id="bob", types={EventType.BALANCE_UPDATED}),
        Wanted(entities={"north"}),
        Wanted(entities={"default"}),
        Wanted(entities=set()),
    ):
        expected = [one.document() for one in everything if wanted.takes(one)]
        assert [one.document() for one in read(feed, wanted=wanted)] == expected
    assert told(read(feed, wanted=Wanted(entities={"north"}))) == [("account.opened", "north")]


def test_a_long_silence_is_caught_up_in_bounded_steps(world: World) -> None:
    """So that it costs no long statement."""
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    for _ in range(9):
        world.accepted("alice", "bob", 1)
        world.drain()
    with world.owner.transaction():
        world.owner.execute("SET LOCAL ROLE holdfast_app")
        for _ in range(20):
            world.owner.execute("SELECT sequence_events(2)")
    assert_complete(world, read(feed_of(world)))


def test_the_app_can_neither_invent_nor_hide_an_event(world: World) -> None:
    world.account("alice")
    for statement in (
        "INSERT INTO event_notice (kind, source_id, noted_at) VALUES ('account', '1', now())",
        "DELETE FROM event_notice",
        "INSERT INTO event_log (position, kind, source_id) VALUES (1, 'account', '1')",
        "UPDATE event_head SET position = 9",
        "UPDATE event_chain SET chain_seq = 9",
    ):
        with world.owner.transaction(force_rollback=True):
            world.owner.execute("SET LOCAL ROLE holdfast_app")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                world.owner.execute(statement)
    assert told(read(feed_of(world))) == [("account.opened", "alice")]


def test_a_cursor_is_read_as_it_was_written() -> None:
    for text in ("0", "7", "7.0.0", "12.3.4"):
        assert str(parse_cursor(text)) == text
    for text in ("", "x", "1.2", "1.2.3.4", "-1", "1 ", "1\n", "٣"):
        assert parse_cursor(text) is None
