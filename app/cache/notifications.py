"""The one subscriber of a process: it hears what was settled and which API keys were revoked, and passes it on."""

import logging
from collections.abc import Callable, Iterable
from threading import Event, Thread
from typing import Any

import msgspec
import redis

from app.cache.keys import REVOKED, REVOKED_CHANNEL, SETTLED_CHANNEL
from app.domain.settlement import Notice

log = logging.getLogger(__name__)

decode_notices = msgspec.json.Decoder(list[Notice]).decode
"""The notices in one message of the channel."""

_LISTEN_S = 1.0
"""How long one call for a message blocks, and so how soon a stop is noticed."""
_RECONNECT_S = 0.2


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
            pubsub.subscribe(SETTLED_CHANNEL, REVOKED_CHANNEL)
            while not self._stopped.is_set():
                message = pubsub.get_message(timeout=_LISTEN_S)
                if message is None:
                    self._require_primary()
                    continue
                if message["channel"] == REVOKED_CHANNEL:
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
            recent: Any = self._client.smembers(REVOKED)
            self._on_revoked(recent)
        elif message["type"] == "message":
            self._on_revoked([message["data"]])

    def _require_primary(self) -> None:
        """Leave a server that has become a replica: the drains publish on the new primary."""
        info: Any = self._client.info("replication")
        if info["role"] != "master":
            self._client.connection_pool.disconnect()
            raise redis.ConnectionError(f"the server is a replica (role {info['role']})")
