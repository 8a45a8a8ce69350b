"""What processes tell each other by the cache: settled payments, revoked API keys, and that the drains are alive.

A process of the API has one subscriber, which hears of settlements and revocations and passes them on. A message
reaches only who listens when it is sent. So the ids of revoked keys are kept in a set too, for as long as a process may
trust a key without asking the ledger, and a process that begins to listen reads it. The drains' heartbeats are written
by `lua/heartbeat.lua`, and readiness reads them.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import msgspec
import redis

from app.cache import keys
from app.cache.client import CacheClient
from app.domain.settlement import Notice

log = logging.getLogger(__name__)

decode_notices = msgspec.json.Decoder(list[Notice]).decode
"""The notices in one message of the channel."""

_LISTEN_S = 1.0
"""How long one call for a message blocks, and so how soon a stop is noticed."""
_RECONNECT_S = 0.2

REVOKED_KEPT_S = 3600
"""Far longer than any process trusts a key that the ledger has not confirmed."""

HEARTBEATS_HOME = 0
"""The partition of the key; there is always a first one."""

HEARTBEAT_FORGOTTEN_MS = 60_000
"""A drain that has been silent for this long does not come back under the same name."""

LONGEST_FAILURE = 300
"""Characters of an error that are kept; the drain's log has the rest."""


class Subscriber:
    """A thread that receives notices."""

    def __init__(
        self,
        client: redis.Redis,
        on_notice: Callable[[Notice], None],
        on_begin: Callable[[int], None],
        on_revoked: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        """`on_begin` is called when the subscription begins, with the cache's time in ms since 1970.

        It is called again after a lost connection: notices may have been missed. `on_revoked` is called with the ids of
        API keys: of one that is revoked, and when the subscription begins of all that were revoked lately.
        """
        self._client = client
        self._on_notice = on_notice
        self._on_begin = on_begin
        self._on_revoked = on_revoked
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="settled-subscriber", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; the thread ends within a second."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                log.warning("subscription lost, connecting again: %s", error)
                self._stopped.wait(_RECONNECT_S)

    def _listen(self) -> None:
        with self._client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(keys.SETTLED_CHANNEL, keys.REVOKED_CHANNEL)
            while not self._stopped.is_set():
                message = pubsub.get_message(timeout=_LISTEN_S)
                if message is None:
                    self._require_primary()
                    continue
                if message["channel"] == keys.REVOKED_CHANNEL:
                    self._hear_revoked(message)
                elif message["type"] == "subscribe":
                    # Asked after the subscription began, so that no notice is missed in between.
                    seconds, microseconds = self._client.time()
                    self._on_begin(int(seconds) * 1000 + int(microseconds) // 1000)
                elif message["type"] == "message":
                    for notice in decode_notices(message["data"]):
                        self._on_notice(notice)

    def _hear_revoked(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            recent: Any = self._client.smembers(keys.REVOKED)
            self._on_revoked(recent)
        elif message["type"] == "message":
            self._on_revoked([message["data"]])

    def _require_primary(self) -> None:
        """Leave a server that has become a replica: the drains publish on the new primary."""
        info: Any = self._client.info("replication")
        if info["role"] != "master":
            self._client.connection_pool.disconnect()
            raise redis.ConnectionError(f"the server is a replica (role {info['role']})")


class Revocations:
    """The API keys that were revoked lately."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def spread(self, key_id: str) -> None:
        """Tell every process that a key is revoked; the ledger has it already."""
        commands = [
            ("SADD", keys.REVOKED, key_id),
            ("EXPIRE", keys.REVOKED, REVOKED_KEPT_S),
            ("PUBLISH", keys.REVOKED_CHANNEL, key_id),
        ]
        self._client.run([], after=commands)

    def recent(self) -> set[str]:
        """The keys revoked within REVOKED_KEPT_S, and perhaps some before."""
        with self._client.translated():
            found: Any = self._client.redis.smembers(keys.REVOKED)
        return set(found)


@dataclass(slots=True, frozen=True)
class Heartbeat:
    """What one drain said last."""

    process: str
    age_s: float
    """How long ago it spoke."""
    idle_s: float | None
    """How long ago a round of it last succeeded, now; None if none has yet."""
    failure: str
    """Why its latest round failed; empty if it succeeded."""


class Heartbeats:
    """The drains that have spoken within the last minute."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def beat(self, process: str, idle_s: float | None, failure: str) -> None:
        """Say that a drain is alive; `idle_s` is how long ago a round of it last succeeded."""
        idle_ms = "" if idle_s is None else int(idle_s * 1000)
        arguments = [process, idle_ms, failure[:LONGEST_FAILURE], HEARTBEAT_FORGOTTEN_MS]
        self._client.run([(keys.HEARTBEAT, [keys.drains(HEARTBEATS_HOME)], arguments)])

    def all(self) -> list[Heartbeat]:
        """The latest heartbeat of each drain."""
        with self._client.translated():
            flat, (seconds, microseconds) = self._client.look([("HGETALL", keys.drains(HEARTBEATS_HOME)), ("TIME",)])
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return [_heartbeat(flat[n], flat[n + 1], now_ms) for n in range(0, len(flat), 2)]


def _heartbeat(process: str, text: str, now_ms: int) -> Heartbeat:
    at_ms, idle_ms, failure = text.split("|", 2)
    age_s = max(0, now_ms - int(at_ms)) / 1000
    return Heartbeat(process, age_s, age_s + int(idle_ms) / 1000 if idle_ms else None, failure)
