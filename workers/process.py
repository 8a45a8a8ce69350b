"""What every worker process does at its start."""

import logging
import os
from functools import cache

from rq import Queue, SimpleWorker

from app.funds.connection import blocking_client
from app.settings import Settings, settings_from


@cache
def settings() -> Settings:
    """This process's settings."""
    return settings_from(os.environ)


def configure_logging() -> None:
    """One line an event, with the time in UTC."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("rq").setLevel(logging.WARNING)


def work(queue_name: str) -> None:
    """Serve one queue, until told to stop.

    One queue a worker: on several, a kill −9 may lose the job between them. SimpleWorker runs jobs in the process,
    two milliseconds each where a fork costs ten.
    """
    configure_logging()
    connection = blocking_client(settings().queue_url, decode_responses=False)
    worker = SimpleWorker([Queue(queue_name, connection=connection)], connection=connection)
    worker.work(logging_level="WARNING", with_scheduler=False)
