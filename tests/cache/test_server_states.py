"""The states of a cache server: a demoted one is left, a full one settles on, and a wrong clock is noticed."""

import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import redis

from app.cache import keys
from app.cache.client import blocking_client, request_client
from app.cache.notifications import Subscriber
from app.cache.server_states import REMEMBERED_S, CacheServer, Effect, ServerWatch, server_from, state_of
from app.domain.errors import CacheFull, CacheUnavailable, ClocksDisagree
from app.domain.settlement import Notice
from app.domain.timestamps import CLOCK_BOUND_S
from app.embedded.valkey import CacheServer as Valkey
from tests.builders import intent
from tests.cache.world import CacheUnderTest, settlement
from tests.patience import CACHE_DEADLINE_S, until
from tests.world import StepClock


class Name:
    """A name that leads to one of two servers: connections go to wherever it leads when they are made."""

    def __init__(self, port: int) -> None:
        self.leads_to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.leads_to))
            for source, sink in ((near, far), (far, near)):
                Thread(target=_pump, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while chunk := source.recv(65_536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[redis.Redis]]:
    """Two servers of their own."""
    servers = [Valkey(tmp_path / name, "secret") for name in ("one", "two")]
    for server, name in zip(servers, ("one", "two"), strict=True):
        (tmp_path / name / "logs").mkdir(parents=True)
        server.begin()
    for server in servers:
        server.finish()
    yield [redis.Redis.from_url(server.url, decode_responses=True) for server in servers]
    for server in servers:
        server.stop()


def port_of(client: redis.Redis) -> int:
    return int(client.config_get("port")["port"])


def test_a_demoted_primary_is_left_for_the_server_that_its_name_leads_to_now(pair: list[redis.Redis]) -> None:
    old, new = pair
    name = Name(port_of(old))
    client = request_client(f"redis://:secret@127.0.0.1:{name.port}/0", CACHE_DEADLINE_S)
    cache = CacheUnderTest(client).opened()
    cache.with_wallet(balance_minor=100)
    assert cache.codes(intent(amount_minor=1, external_id="before")) == ["RESERVED"]
    client.set("kept connections of both kinds", "1")

    old.replicaof("127.0.0.1", port_of(new))
    name.leads_to = port_of(new)
    with pytest.raises(CacheUnavailable):
        cache.reserve(intent(amount_minor=1, external_id="after"))
    with pytest.raises(redis.ResponseError):
        client.set("x", "1")

    assert client.set("x", "1"), "redis-py's connection leads to the new primary"
    cache.opened().with_wallet(balance_minor=100)
    assert cache.codes(intent(amount_minor=1, external_id="after")) == ["RESERVED"]
    assert cache.cache.inspection.server().is_primary
    name.close()


def test_the_subscriber_follows_the_name_to_the_new_primary(pair: list[redis.Redis]) -> None:
    old, new = pair
    name = Name(port_of(old))
    client = blocking_client(f"redis://:secret@127.0.0.1:{name.port}/0", decode_responses=True)
    heard: list[Notice] = []
    begun: list[int] = []
    subscriber = Subscriber(client, heard.append, begun.append)
    subscriber.start()
    until(lambda: len(begun) == 1)
    name.leads_to = port_of(new)
    old.replicaof("127.0.0.1", 1)
    until(lambda: len(begun) > 1 and bool(new.pubsub_numsub(keys.SETTLED_CHANNEL)[0][1]))
    CacheUnderTest(new).cache.outbox.announce(Notice(0, up_to="1-0"))
    until(lambda: [notice.up_to for notice in heard] == ["1-0"])
    subscriber.stop()
    name.close()


def test_a_replica_says_so(real_cache: CacheUnderTest) -> None:
    real_cache.client.replicaof("127.0.0.1", 1)
    try:
        assert not real_cache.cache.inspection.server().is_primary
    finally:
        real_cache.client.replicaof("NO", "ONE")
    assert real_cache.cache.inspection.server().is_primary


@pytest.mark.parametrize(
    ("message", "effect", "drops"),
    [
        ("OOM command not allowed", Effect.NOT_RUN, False),
        ("READONLY You can't write", Effect.NOT_RUN, True),
        ("MASTERDOWN Link with MASTER is down", Effect.NOT_RUN, True),
        ("CLUSTERDOWN The cluster is down", Effect.NOT_RUN, True),
        ("LOADING is loading", Effect.NOT_RUN, False),
        ("MISCONF Errors writing", Effect.NOT_RUN, False),
        ("NOSCRIPT No matching script", Effect.NOT_RUN, False),
        ("ERR max number of clients reached", Effect.NOT_RUN, True),
        ("WRONGTYPE Operation against a key", Effect.DEFECT, False),
    ],
)
def test_what_a_reply_means_stands_in_one_table(message: str, effect: Effect, drops: bool) -> None:
    state = state_of(redis.ResponseError(message))
    assert (state.effect, state.drops) == (effect, drops)


# Memory


@pytest.fixture
def full(real_cache: CacheUnderTest) -> Iterator[CacheUnderTest]:
    """A wallet with a hold, on a server that has no memory left, and has forgotten its scripts."""
    real_cache.with_wallet(balance_minor=100)
    real_cache.reserved(10, "held")
    real_cache.client.script_flush()
    real_cache.client.config_set("maxmemory", "1")
    yield real_cache
    real_cache.client.config_set("maxmemory", "0")


def test_a_full_cache_still_settles_and_so_becomes_empty(full: CacheUnderTest) -> None:
    [stream_id] = full.outbox()
    with pytest.raises(CacheFull):
        full.cache.outbox.mark_awake()
    full.cache.outbox.settle(0, [settlement(balance_minor=90, posted=(stream_id,))], done_up_to=stream_id)
    assert (full.state().balance_minor, full.state().held_minor, full.outbox()) == (90, 0, [])


def test_a_full_cache_still_hears_that_a_drain_is_alive(full: CacheUnderTest) -> None:
    full.cache.heartbeats.beat("here:1", 0.0, "")
    assert [one.process for one in full.cache.heartbeats.all()] == ["here:1"]


def test_the_flags_of_a_script_come_before_the_part_that_it_shares() -> None:
    assert keys.SETTLE.source.startswith("#!lua flags=allow-oom\n-- funds:")


def test_new_payments_are_refused_before_the_memory_for_settling_is_used(real_cache: CacheUnderTest) -> None:
    clock = StepClock()
    real_cache.with_wallet(balance_minor=100)
    real_cache.cache.client.watch = ServerWatch(monotonic=clock)
    used = real_cache.cache.inspection.server().used_bytes
    try:
        real_cache.client.config_set("maxmemory", str(int(used * 1.05)))  # Redis itself would still accept payments
        assert real_cache.codes(intent(amount_minor=1, external_id="asks")) == ["RESERVED"]
        with pytest.raises(CacheFull, match="maxmemory"):
            real_cache.reserve(intent(amount_minor=1, external_id="refused"))
        real_cache.client.config_set("maxmemory", str(used * 2))
        clock.now += REMEMBERED_S
        assert real_cache.codes(intent(amount_minor=1, external_id="accepted")) == ["RESERVED"]
    finally:
        real_cache.client.config_set("maxmemory", "0")


@pytest.mark.parametrize(("used", "limit", "percent", "room"), [
    (89, 100, 10, True), (90, 100, 10, False), (99, 100, 0, True), (10**12, 0, 10, True),
])  # fmt: skip
def test_the_reserve_is_a_part_of_the_limit(used: int, limit: int, percent: int, room: bool) -> None:
    assert CacheServer("master", used, limit, 0, 0.0).has_room(percent) is room


# Clocks


@pytest.mark.parametrize(
    ("server_s", "ahead_s"), [(100.5, 0.0), (101.5, 0.5), (99.5, -0.5), (160.0, 59.0), (40.0, -60.0)]
)
def test_a_clock_is_ahead_only_by_what_the_round_trip_cannot_explain(server_s: float, ahead_s: float) -> None:
    clock = [str(int(server_s)), str(int(server_s % 1 * 1e6))]
    assert server_from("", clock, sent_at=100.0, answered_at=101.0).clock_ahead_s == pytest.approx(ahead_s)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_cache_whose_clock_is_wrong_gets_no_payments(real_cache: CacheUnderTest, direction: int) -> None:
    real_cache.with_wallet(balance_minor=100)
    clock, ahead_s = StepClock(), real_cache.cache.inspection.server().clock_ms / 1000
    ahead_s += direction * (CLOCK_BOUND_S + 1)
    real_cache.cache.client.watch = ServerWatch(monotonic=clock, wall_clock=lambda: ahead_s)
    real_cache.opened()  # any call asks the server how it is
    with pytest.raises(ClocksDisagree, match="clock"):
        real_cache.reserve(intent(amount_minor=1, external_id="x"))


# Who they are


def test_a_client_says_who_it_is(empty_cache: str) -> None:
    client = request_client(empty_cache, CACHE_DEADLINE_S, name="holdfast-test")
    assert "holdfast-test" in {one["name"] for one in client.client_list()}
