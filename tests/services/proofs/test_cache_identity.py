"""A cache that is not the one it was is noticed, closed, opened again from the ledger, and its loss is named."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cache import keys
from app.domain.refusals import RefusalCode
from app.domain.timestamps import parse_time
from app.services.payments.authorizations import Concluded
from app.services.payments.outcomes import Accepted
from tests.builders import payment
from tests.databases import Databases
from tests.services.own_cache import OwnCache, own_cache
from tests.world import World


@pytest.fixture
def server() -> Iterator[OwnCache]:
    with own_cache() as cache:
        yield cache


@pytest.fixture
def world(few_partitions: Databases, server: OwnCache) -> Iterator[World]:
    """An installation over a cache of its own: alice has 900 in the ledger and in the cache."""
    with few_partitions.lent() as urls:
        world = World(replace(urls, redis_url=server.url))
        world.bank()
        world.account("alice", balance_minor=900)
        world.account("bob")
        world.warm("alice")
        world.identity.note()
        yield world
        world.close()


def losses(world: World) -> list[dict[str, Any]]:
    """The figures of the losses on record, open ones only."""
    return [
        figures
        for (figures,) in world.rows(
            "SELECT figures FROM reconciliation_break WHERE kind = 'cache_lost' AND state = 'open' ORDER BY break_id"
        )
    ]


def assert_nothing_can_be_spent_twice(world: World) -> None:
    """Alice's 900 are gone, in the ledger and in the cache, and everything agrees."""
    assert world.refused("alice", "bob", 900).code == RefusalCode.INSUFFICIENT_FUNDS
    world.drain()
    assert (world.booked("alice"), world.warm("alice").funds.balance_minor) == (0, 0)
    assert world.rows("SELECT count(*) FROM payment_rejection") == [(0,)]
    world.assert_proven()


def test_an_older_copy_of_the_data_offers_no_old_balance(world: World, server: OwnCache) -> None:
    copy = server.copy()
    world.accepted("alice", "bob", 900)
    world.drain()
    server.put_back(copy)
    assert_nothing_can_be_spent_twice(world)
    [figures] = losses(world)
    assert figures["reason"] == "the cache is an older copy of itself, or a replica that had not received everything"


def test_a_payment_that_an_older_copy_lacks_is_named_and_its_retry_posts_once(world: World, server: OwnCache) -> None:
    copy = server.copy()
    lost = world.accepted("alice", "bob", 900, "order-1")
    server.put_back(copy)
    again = world.accepted("alice", "bob", 900, "order-1")
    assert again.payment_id != lost.payment_id
    [figures] = losses(world)
    assert (figures["payment_ids"], figures["lost_payments"]) == ([lost.payment_id], 1)
    partition = str(lost.outbox_position.partition)
    assert figures["partitions"][partition]["last_known"] == lost.outbox_position.stream_id
    world.drain()
    assert_nothing_can_be_spent_twice(world)
    assert len(losses(world)) == 1


def test_a_promoted_replica_that_lags_offers_no_old_balance_and_what_it_lacks_is_named(
    world: World, server: OwnCache
) -> None:
    replica = server.replica()
    replica.catch_up()
    replica.cut_off()
    world.accepted("alice", "bob", 600)
    world.drain()
    lost = world.accepted("alice", "bob", 300)
    replica.promote()
    assert world.refused("alice", "bob", 301).code == RefusalCode.INSUFFICIENT_FUNDS
    world.accepted("alice", "bob", 300)
    assert [one["payment_ids"] for one in losses(world)] == [[lost.payment_id]]
    world.drain()
    assert_nothing_can_be_spent_twice(world)


def test_a_promoted_replica_that_has_everything_is_used_as_it_is(world: World, server: OwnCache) -> None:
    replica = server.replica()
    world.accepted("alice", "bob", 600)
    generation = world.identity.check()
    replica.catch_up()
    replica.promote()
    world.accepted("alice", "bob", 300)
    assert (world.identity.check(), losses(world)) == (generation, [])
    world.drain()
    assert_nothing_can_be_spent_twice(world)


def test_an_emptied_cache_is_opened_again_and_each_lost_payment_is_named(world: World) -> None:
    lost = [world.accepted("alice", "bob", 1).payment_id for _ in range(20)]
    world.client.flushall()
    world.accepted("alice", "bob", 900)
    [figures] = losses(world)
    assert figures["reason"] == "the cache is empty"
    assert (sorted(lost), 20) == (figures["payment_ids"], figures["lost_payments"])
    world.drain()
    assert_nothing_can_be_spent_twice(world)


@pytest.mark.parametrize("lose", [OwnCache.delete_data, OwnCache.lose_manifest], ids=lambda lose: lose.__name__)
def test_a_system_that_starts_on_an_empty_cache_says_how_much_was_pending(
    world: World, server: OwnCache, lose: Callable[[OwnCache], None]
) -> None:
    for _ in range(20):
        last = world.accepted("alice", "bob", 1)
    world.identity.note()
    server.stop()
    lose(server)
    server.start()
    started = world.new_payment_services(world.new_cache())
    assert started.identity.check() == 2
    [figures] = losses(world)
    assert (figures["reason"], figures["pending_when_last_seen"]) == ("the cache is empty", 20)
    partition = figures["partitions"][str(last.outbox_position.partition)]
    assert partition["last_known"] == last.outbox_position.stream_id
    assert (partition["last_found"], partition["pending_when_last_seen"]) == (None, 20)
    world.assert_proven()


def test_a_restart_that_loses_nothing_changes_nothing(world: World, server: OwnCache) -> None:
    pending = world.accepted("alice", "bob", 900)
    before = world.client.hgetall(world.account_key("alice"))
    generation = world.identity.check()
    server.restart()
    assert world.refused("alice", "bob", 1).code == RefusalCode.INSUFFICIENT_FUNDS
    assert (world.identity.check(), losses(world)) == (generation, [])
    assert world.client.hgetall(world.account_key("alice")) == before
    world.drain()
    assert world.finder.find(pending.payment_id)
    assert_nothing_can_be_spent_twice(world)


def test_a_crash_that_takes_the_last_second_is_noticed_and_named(world: World, server: OwnCache) -> None:
    """As a machine that loses its power does while the append-only file is synced each second."""
    file, length = server.log_length()
    posted = world.accepted("alice", "bob", 600)
    world.drain()
    lost = world.accepted("alice", "bob", 300)
    server.kill()
    with file.open("r+b") as log:
        log.truncate(length)
    server.start()
    world.accepted("alice", "bob", 300)
    [figures] = losses(world)
    assert figures["payment_ids"] == [lost.payment_id]
    world.drain()
    assert world.finder.find(posted.payment_id)
    assert_nothing_can_be_spent_twice(world)


def test_a_killed_server_whose_data_is_whole_changes_nothing(world: World, server: OwnCache) -> None:
    world.client.config_set("appendfsync", "everysec")
    world.accepted("alice", "bob", 900)
    generation = world.identity.check()
    server.kill()
    server.start()
    assert_nothing_can_be_spent_twice(world)
    assert (world.identity.check(), losses(world)) == (generation, [])


def test_no_payment_id_is_given_twice_though_the_one_who_opens_does_not_know_the_last(world: World) -> None:
    """The stream ids are ahead of the clock, so only their sequence tells them apart."""
    partition = world.cache.partition_of("alice")
    world.client.xadd(keys.outbox(partition), {"intent": ""}, id=f"{4 * 10**12}-0")
    world.client.xtrim(keys.outbox(partition), maxlen=0)
    other = world.new_payment_services(world.new_cache())
    other.identity.check()
    lost = [world.accepted("alice", "bob", 1).payment_id]
    for number in range(2):
        accepted = other.payments.submit_one(
            payment("alice", "bob", amount_minor=1, external_id=f"lost-{number}"), "test"
        )
        assert isinstance(accepted, Accepted)
        lost.append(accepted.payment_id)
    world.client.flushall()
    world.identity.check()
    later = [world.accepted("alice", "bob", 1).payment_id for _ in range(3)]
    assert not set(later) & set(lost)
    other.identity.check()
    [figures] = losses(world)
    assert (figures["payment_ids"], figures["lost_payments"]) == (sorted(lost), 3)
    assert parse_time(figures["lost_until"]) < datetime.now(UTC) + timedelta(minutes=1)
    world.drain()
    world.assert_proven()


@pytest.mark.parametrize("end", ["capture", "void"])
def test_an_authorization_that_has_ended_holds_nothing_again_in_an_older_copy(
    world: World, server: OwnCache, end: str
) -> None:
    """The copy still has its intent in the outbox, and nothing of its end."""
    authorized = world.accepted("alice", "bob", 300, manual_capture=True, expires_in_s=3_600)
    copy = server.copy()
    world.drain()
    if end == "capture":
        world.authorizations.capture(authorized.payment_id, 300, "key:test")
    else:
        world.authorizations.void(authorized.payment_id, "key:test")
    world.drain()
    server.put_back(copy)
    world.identity.check()
    world.drain()
    assert world.warm("alice").funds.held_minor == 0
    assert world.reconcile(full=True).breaks == []
    world.assert_proven()


def test_a_lost_capture_is_named_with_its_authorization_which_is_open_again(world: World) -> None:
    authorized = world.accepted("alice", "bob", 300, manual_capture=True, expires_in_s=3_600)
    world.drain()
    captured = world.authorizations.capture(authorized.payment_id, 300, "key:test")
    assert isinstance(captured, Concluded)
    world.client.flushall()
    world.identity.check()
    [figures] = losses(world)
    assert figures["ended_authorizations"] == {captured.outbox_position.payment_id: authorized.payment_id}
    again = world.authorizations.capture(authorized.payment_id, 300, "key:test")
    assert isinstance(again, Concluded)
    assert not again.replayed
    world.drain()
    assert world.booked("bob") == 300
    world.assert_proven()
