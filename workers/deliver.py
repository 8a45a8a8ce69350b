"""The deliverer: tells webhook endpoints of events, and follows the accounts that have monitors.

Posting knows nothing of it. It reads what is committed, so it may be away for any time and goes on where it was. Of
several deliverers one works, and the others wait for it to end.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from threading import Event, Thread

from app.domain.errors import Fault
from app.logs import configure_logging
from app.settings import Settings, settings_from
from app.wiring.events import build_deliverer, build_delivery_lock, build_monitor_follower

log = logging.getLogger(__name__)

FOLLOW_S = 0.5
"""How soon a crossing is noticed."""


class LastingDuty:
    """Does something again and again until told to stop; a failure that lasts is logged when it begins and ends."""

    def __init__(self, name: str, duty: Callable[[], object], pause_s: float) -> None:
        self._name = name
        self._duty = duty
        self._pause_s = pause_s
        self._fails = False

    def run(self, stopped: Event) -> None:
        """Until told to stop."""
        while not stopped.wait(self._pause_s):
            self.run_once()

    def run_once(self) -> None:
        """Once, whatever happens."""
        try:
            self._duty()
        except Exception as error:
            if not self._fails:
                log.warning("%s waits: %s", self._name, error, exc_info=not isinstance(error, Fault))
            self._fails = True
        else:
            if self._fails:
                log.warning("%s goes on", self._name)
            self._fails = False


async def deliver(settings: Settings, stopped: Event) -> None:
    """Deliver until told to stop."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    Thread(target=lambda: (stopped.wait(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    lock = build_delivery_lock(settings)
    try:
        await build_deliverer(settings).run(lock.is_held, ended)
    finally:
        lock.close()


def main() -> None:
    """Follow and deliver until told to stop."""
    settings = settings_from(os.environ)
    configure_logging("deliver", settings.log_format)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    follower = LastingDuty("monitors", build_monitor_follower(settings).run_once, FOLLOW_S)
    following = Thread(target=follower.run, args=(stopped,), name="monitors", daemon=True)
    following.start()
    asyncio.run(deliver(settings, stopped))
    following.join(FOLLOW_S)


if __name__ == "__main__":
    main()
