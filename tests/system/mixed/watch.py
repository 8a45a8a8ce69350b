"""The readiness of a system as somebody sees it who asks several times a second."""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

from tests.system.harness import System

PERIOD_S = 0.2


@dataclass(slots=True, frozen=True)
class Look:
    """One answer of /readyz. Times are monotonic; `code` is 0 and `status` is `down` if there was none."""

    began: float
    ended: float
    code: int
    status: str
    failing: dict[str, str]
    backlog: int | None

    @property
    def is_green(self) -> bool:
        """Whether everything is in order."""
        return self.status == "ready"


class ReadinessWatch(Thread):
    """Looks until it is stopped, and keeps each look."""

    def __init__(self, system: System) -> None:
        super().__init__(name="readiness watch", daemon=True)
        self.looks: list[Look] = []
        self._system = system
        self._stopped = Event()

    def run(self) -> None:
        """Look a few times a second."""
        while not self._stopped.wait(PERIOD_S):
            self.looks.append(self._look())

    def stop(self) -> None:
        """End after the look under way."""
        self._stopped.set()
        self.join()

    def _look(self) -> Look:
        began = time.monotonic()
        try:
            answer = self._system.readiness()
            body = answer.body
            failing = {name: check["detail"] for name, check in body["checks"].items() if not check["ok"]}
            return Look(began, time.monotonic(), answer.status, body["status"], failing, body["backlog"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return Look(began, time.monotonic(), 0, "down", {}, None)

    def seen(self, condition: Callable[[Look], bool], since: float, within_s: float) -> Look | None:
        """The first look begun after `since` that is so, within these seconds of it; None if there is none."""
        at = 0
        while True:
            is_late = time.monotonic() > since + within_s
            looks = self.looks
            while at < len(looks):
                if looks[at].began >= since and condition(looks[at]):
                    return looks[at]
                at += 1
            if is_late:
                return None
            time.sleep(0.05)

    def red_spells(self, shortest_s: float) -> list[tuple[float, float, str]]:
        """The spells without green that lasted so long: from when until when, and what failed first."""
        spells, first = [], None
        for look in self.looks:
            if look.is_green and first is not None:
                if look.ended - first.ended >= shortest_s:
                    spells.append((first.ended, look.ended, f"{first.status} {first.failing}"))
                first = None
            elif not look.is_green and first is None:
                first = look
        return spells
