"""How tests wait for what other threads, processes and servers do: as long as a busy machine needs."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""How long a test waits before it fails; on an idle machine everything comes within a second or two."""


COMMAND_S = 240.0
"""How long a command may take that does a test's whole work, as a replay does."""


CACHE_DEADLINE_S = 30
"""How long what is tested waits for an answer of the cache; users' second is over when a machine pauses."""


def until(condition: Callable[[], bool], explain: Callable[[], str] = str, within_s: float = PATIENCE_S) -> None:
    """Ask again and again until it is so; a failure says what `explain` knows."""
    deadline = time.monotonic() + within_s
    pause_s = 0.001
    while not condition():
        assert time.monotonic() < deadline, f"it does not come to pass\n{explain()}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.032)
