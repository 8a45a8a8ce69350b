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
    """Log one line per event."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("rq").setLevel(logging.WARNING)


WORKER_TTL_S = 20
"""A killed worker is forgotten after this time. RQ has an idle one send a heartbeat fifteen seconds before it is over,
so every five seconds."""


class ListedWorker(SimpleWorker):
    """A worker that enters itself on RQ's list with every heartbeat: the list may have been lost with the cache."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Send a heartbeat, and enter the worker on the list again."""
        super().heartbeat(timeout, pipeline)
        register(self, pipeline)


def work(queue_name: str) -> None:
    """Serve one queue until told to stop.

    A worker has one queue: with several, a kill −9 may lose a job between them. SimpleWorker runs jobs in its own
    process, which costs two milliseconds per job instead of ten for a fork.
    """
    configure_logging()
    connection = blocking_client(settings().queue_url, decode_responses=False)
    queues = [Queue(queue_name, connection=connection)]
    worker = ListedWorker(queues, connection=connection, worker_ttl=WORKER_TTL_S)
    worker.work(logging_level="WARNING", with_scheduler=False)
