"""What the RQ workers share: settings, logging, and the loop that serves one queue."""

import logging
import os
from functools import cache
from typing import Any

from rq import Queue, SimpleWorker
from rq.worker_registration import register

from app.cache.client import blocking_client
from app.settings import Settings, settings_from


@cache
def settings() -> Settings:
    """This process's settings."""
    return settings_from(os.environ)


def configure_logging() -> None:
    """One line an event, with the time in UTC."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("rq").setLevel(logging.WARNING)


WORKER_TTL_S = 20
"""An idle worker sends a sign of life every five seconds (RQ sends it fifteen seconds before this time is over), and a
killed one is forgotten soon."""


class ListedWorker(SimpleWorker):
    """A worker that puts itself on RQ's list with every sign of life: the list may have been lost with the cache."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Show that the worker lives."""
        super().heartbeat(timeout, pipeline)
        register(self, pipeline)


def work(queue_name: str) -> None:
    """Serve one queue until told to stop.

    One queue per worker: on several, a kill −9 may lose the job between them. SimpleWorker runs jobs in its own
    process, which costs two milliseconds a job where a fork costs ten.
    """
    configure_logging()
    connection = blocking_client(settings().queue_url, decode_responses=False)
    queues = [Queue(queue_name, connection=connection)]
    worker = ListedWorker(queues, connection=connection, worker_ttl=WORKER_TTL_S)
    worker.work(logging_level="WARNING", with_scheduler=False)
