"""Faults of the cache: "nothing was done" is told apart from "nobody knows"."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import redis

from app.cache import keys
from app.cache.cache import Cache
from app.cache.client import CacheClient, durability_of, refused_before_running, request_client
from app.domain.errors import CacheUnavailable, OutcomeUnknown
from tests.builders import intent
from tests.cache.world import CacheUnderTest
from tests.patience import CACHE_DEADLINE_S, PATIENCE_S

PROBE_REPLIES = b"$0\r\n\r\n*2\r\n$10\r\n%d\r\n$1\r\n0\r\n" % time.time()
"""What a server answers to `PROBE`: nothing to remark, and the time."""


@contextmanager
def cache_at(url: str, deadline_s: float = CACHE_DEADLINE_S) -> Iterator[Cache]:
    client = request_client(url, deadline_s)
    yield Cache(CacheClient(client, partitions=1, window_ms=1_000, backlog_limit=10))
    client.connection_pool.disconnect()


@contextmanager
def server_that(reply: bytes | None, *, resets: bool = False) -> Iterator[str]:
    """A server that greets every connection and answers each request (and `PROBE`) with `reply`, or by hanging up, if
    it `resets` with a word about it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    while received := connection.recv(65_536):
                        greetings = received.upper().count(b"CLIENT")
                        if greetings:
                            connection.sendall(b"+OK\r\n" * greetings)
                            continue
                        if resets:
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        if reply is None:
                            break
                        connection.sendall(reply + (PROBE_REPLIES if b"TIME" in received else b""))

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=PATIENCE_S)


def test_a_server_that_cannot_be_reached_has_done_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with cache_at(f"redis://127.0.0.1:{port}/0") as cache, pytest.raises(CacheUnavailable):
        cache.inspection.ping()


def test_a_server_that_hangs_up_after_the_request_may_have_done_it() -> None:
    with server_that(None) as url, cache_at(url) as cache, pytest.raises(OutcomeUnknown):
        cache.partition_states.open(0, 1, "")


def test_a_server_that_resets_the_connection_after_the_request_may_have_done_it() -> None:
    with server_that(None, resets=True) as url, cache_at(url) as cache, pytest.raises(OutcomeUnknown):
        cache.partition_states.open(0, 1, "")


@pytest.mark.parametrize(
    "reply",
    [
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-MISCONF Errors writing to the AOF file\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-NOREPLICAS Not enough good replicas to write.\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
    ],
)
def test_a_server_that_refuses_to_run_has_done_nothing(reply: bytes) -> None:
    with server_that(reply) as url, cache_at(url) as cache, pytest.raises(CacheUnavailable):
        cache.partition_states.open(0, 1, "")


def test_a_partly_refused_round_trip_is_not_reported_as_nothing_done() -> None:
    replies = b":1\r\n-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    with server_that(replies) as url, cache_at(url) as cache, pytest.raises(OutcomeUnknown):
        cache.partition_states.open_all(1, {0: "", 1: ""})


def test_a_connection_that_was_closed_while_idle_is_opened_again(real_cache: CacheUnderTest) -> None:
    real_cache.with_wallet(balance_minor=100)
    real_cache.client.client_kill_filter(_type="normal", skipme=False)
    assert real_cache.codes(intent(amount_minor=1, external_id="x")) == ["RESERVED"]


def test_no_reply_is_left_behind_for_the_next_round_trip() -> None:
    with server_that(b":1\r\n") as url, cache_at(url, deadline_s=2.0) as cache:
        with pytest.raises(OutcomeUnknown):
            cache.partition_states.open_all(1, {0: "", 1: ""})  # one reply only, and then nothing until the deadline
        assert cache.partition_states.open(0, 1, "") == 1


def test_an_encrypted_address_is_reached_over_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard: list[bytes] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(3))

        thread = Thread(target=serve, daemon=True)
        thread.start()
        url = f"rediss://:secret@127.0.0.1:{listener.getsockname()[1]}/0"
        with cache_at(url) as cache, pytest.raises(CacheUnavailable):
            cache.inspection.ping()
        thread.join(timeout=PATIENCE_S)
    assert heard[0][:2] == b"\x16\x03"  # a handshake, and not a word of Redis


def test_an_error_inside_a_script_is_a_defect_and_is_not_hidden(cache: CacheUnderTest) -> None:
    cache.client.set(keys.account(0, "alice"), "not a hash")
    with pytest.raises(redis.ResponseError):
        cache.with_wallet()


@pytest.mark.parametrize(
    ("message", "refused"), [("OOM x", True), ("ERR wrong type", False), ("max number of clients reached", True)]
)
def test_refusals_before_running_are_recognized_by_their_prefix(message: str, refused: bool) -> None:
    assert refused_before_running(redis.ResponseError(message)) is refused


def test_a_full_cache_refuses_before_it_has_done_anything(real_cache: CacheUnderTest) -> None:
    """Real only: the fake has no memory limit."""
    real_cache.with_wallet(balance_minor=100)
    before = real_cache.everything()
    real_cache.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(CacheUnavailable):
            real_cache.reserve(intent(amount_minor=1, external_id="x"))
    finally:
        real_cache.client.config_set("maxmemory", "0")
    assert real_cache.everything() == before
    assert real_cache.codes(intent(amount_minor=1, external_id="x")) == ["RESERVED"]


def test_durability_is_what_the_server_is_set_to(real_cache: CacheUnderTest) -> None:
    """Real only: the fake knows no CONFIG of durability."""
    assert real_cache.cache.inspection.durability() == ("always", "noeviction")
    assert durability_of(real_cache.client) == ("always", "noeviction")
