"""What the RQ workers share: settings, logging, and the loop that serves one queue."""

import logging
import os
import signal
from functools import cache
from threading import Event
from typing import Any

from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.worker_registration import register

from app.cache.client import blocking_client
from app.settings import Settings, settings_from

log = logging.getLogger(__name__)


@cache
def settings() -> Settings:
    """This process's settings."""
    return settings_from(os.environ)


WORKER_TTL_S = 20
"""A killed worker is forgotten after this time. RQ has an idle one send a heartbeat fifteen seconds before it is over,
so every five seconds."""

RETRY_S = 2.0
"""How long to wait for the queues' server before it is tried again."""


class PersistentWorker(SimpleWorker):
    """A worker whose process outlives the queues' server.

    It puts itself on RQ's list with every sign of life, because the list may have been lost with the server.
    """

    max_connection_wait_time = RETRY_S
    asked_to_stop = False

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Send a heartbeat, and enter the worker on the list again."""
        super().heartbeat(timeout, pipeline)
        register(self, pipeline)

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Finish the job, then end."""
        self.asked_to_stop = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def work(queue_name: str, stopped: Event | None = None) -> None:
    """Serve one queue until told to stop, and then set `stopped`.

    One queue per worker: on several, a kill −9 may lose the job between them. A SimpleWorker runs jobs in its own
    process, which costs two milliseconds a job where a fork costs ten. If the queues' server fails, RQ gives up; the
    process does not, because a drain needs no queue.
    """
    stopped = stopped or Event()
    while not stopped.is_set():
        _listen_for_signals(stopped)
        try:
            _serve(queue_name, stopped)
        except RedisError as error:
            log.warning("the queues' server failed, it is tried again: %s", error)
        _listen_for_signals(stopped)  # RQ has taken the signals over
        stopped.wait(RETRY_S)


def _listen_for_signals(stopped: Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())


def _serve(queue_name: str, stopped: Event) -> None:
    """Serve the queue until told to stop, or until its server fails."""
    connection = blocking_client(settings().queue_url, decode_responses=False, name=f"holdfast-queue-{queue_name}")
    worker = PersistentWorker(
        [Queue(queue_name, connection=connection)], connection=connection, worker_ttl=WORKER_TTL_S
    )
    try:
        worker.work(logging_level="WARNING", with_scheduler=False)
    finally:
        if worker.asked_to_stop:
            stopped.set()
        connection.close()
