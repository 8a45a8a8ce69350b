"""Wakes the workers. Nothing else puts jobs into RQ's queues."""

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread

from redis.exceptions import RedisError
from rq import Queue

from app.cache.client import blocking_client

log = logging.getLogger(__name__)

DRAIN_QUEUE = "drain"
MAINTENANCE_QUEUE = "maintenance"

DRAIN_JOB = "workers.drain.drain"
JOB_TIMEOUT_S = 60
FAILURE_KEPT_S = 24 * 3600
"""A failed job is kept for a day, for whoever looks into it."""


class WakeUps:
    """Sends wake-ups. A lost one costs at most a second: the scheduler's sweep finds what waits."""

    def __init__(self, queue_url: str) -> None:
        connection = blocking_client(queue_url, decode_responses=False)
        self._queues = {name: Queue(name, connection=connection) for name in (DRAIN_QUEUE, MAINTENANCE_QUEUE)}

    def drain(self) -> None:
        """Ask for a drain."""
        self.enqueue(DRAIN_QUEUE, DRAIN_JOB)

    def enqueue(self, queue: str, job: str) -> None:
        """Put a job into a queue. No unique job id: a killed worker's job must not block the next wake-up."""
        try:
            self._queues[queue].enqueue(job, job_timeout=JOB_TIMEOUT_S, result_ttl=0, failure_ttl=FAILURE_KEPT_S)
        except RedisError as error:
            log.warning("wake-up %s not sent: %s", job, error)

    def waiting(self, queue: str) -> int:
        """How many jobs no worker has taken yet."""
        return len(self._queues[queue])


class Bell:
    """Sends wake-ups from a thread of its own, so that no payment waits for the queues' server.

    Rings that arrive while a wake-up is being sent cause one more wake-up together.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._rung = Event()
        self._starting = Lock()
        self._thread: Thread | None = None

    def ring(self) -> None:
        """Ask for a wake-up; it is sent after this moment."""
        self._rung.set()
        with self._starting:
            if self._thread is None or not self._thread.is_alive():  # a fork takes no threads along
                self._thread = Thread(target=self._answer, name="bell", daemon=True)
                self._thread.start()

    def _answer(self) -> None:
        while True:
            self._rung.wait()
            self._rung.clear()
            self._wake()
