"""Wakes the workers. Nothing else puts jobs into RQ's queues.

The queues' server may be gone: nothing here fails with it, and nothing waits for it longer than a moment.
"""

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread

from redis.exceptions import RedisError
from rq import Queue

from app.cache.client import request_client
from app.domain.errors import CacheUnavailable

log = logging.getLogger(__name__)

DRAIN_QUEUE = "drain"
MAINTENANCE_QUEUE = "maintenance"

DRAIN_JOB = "workers.drain.drain"
RECONCILE_JOB = "workers.maintain.reconcile"
JOB_TIMEOUTS_S = {DRAIN_QUEUE: 60, MAINTENANCE_QUEUE: 24 * 3600}
"""How long a job may take. A full reconciliation of a large ledger, at the pace of the maintenance, takes hours."""
DEADLINE_S = 0.5
"""How long a wake-up may take. A drain that is not woken looks by itself within a second."""

FAILURE_KEPT_S = 24 * 3600
"""A failed job is kept for a day, for inspection."""


class WakeUps:
    """Sends wake-ups. A lost one costs at most a second: each drain looks for intents by itself."""

    def __init__(self, queue_url: str) -> None:
        self._connection = request_client(queue_url, DEADLINE_S, name="holdfast-wakeup", decode_responses=False)
        self._queues = {name: Queue(name, connection=self._connection) for name in (DRAIN_QUEUE, MAINTENANCE_QUEUE)}

    def ping(self) -> None:
        """Raise CacheUnavailable unless the queues' server answers."""
        try:
            self._connection.ping()
        except RedisError as error:
            raise CacheUnavailable(str(error)) from error

    def drain(self) -> None:
        """Ask for a drain."""
        self.enqueue(DRAIN_QUEUE, DRAIN_JOB)

    def reconcile(self) -> None:
        """Ask the maintenance worker to look at what was asked of it."""
        self.enqueue_unless_waiting(MAINTENANCE_QUEUE, RECONCILE_JOB)

    def enqueue(self, queue: str, job: str) -> None:
        """Put a job into a queue. No unique job id: a killed worker's job must not block the next wake-up."""
        try:
            timeout_s = JOB_TIMEOUTS_S[queue]
            self._queues[queue].enqueue(job, job_timeout=timeout_s, result_ttl=0, failure_ttl=FAILURE_KEPT_S)
        except RedisError as error:
            log.warning("wake-up %s not sent: %s", job, error)

    def enqueue_unless_waiting(self, queue: str, job: str) -> None:
        """Put a job into a queue, unless one waits there that no worker has taken yet."""
        try:
            waiting = len(self._queues[queue])
        except RedisError as error:
            log.warning("wake-up %s not sent: %s", job, error)
            return
        if not waiting:
            self.enqueue(queue, job)


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
