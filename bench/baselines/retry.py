"""Trying again after a conflict, as the manuals advise: bounded, with exponential backoff and full jitter."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from bench.baselines.common import Refused

TRIES = 50
FIRST_DELAY_S = 0.002
LONGEST_DELAY_S = 0.05

T = TypeVar("T")


class Conflict(Exception):
    """Another transaction was faster."""


def retried(attempt: Callable[[], T]) -> T:
    """The attempt's result; 503 when all tries met a conflict."""
    for number in range(TRIES):
        try:
            return attempt()
        except Conflict:
            time.sleep(random.random() * min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**number))
    raise Refused(503, "retries_exhausted")
