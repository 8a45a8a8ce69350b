"""Delivering events to webhook endpoints: at least once, each endpoint by itself.

Every endpoint has a task and places of its own (`endpoint_work.py`), so one that is slow, hangs or is away delays no
other. What is on its way in all is bounded: the more endpoints there are, the fewer places has each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from app.domain.errors import Fault
from app.services.events.endpoint_work import AT_ONCE, LOOK_S

if TYPE_CHECKING:
    from app.domain.webhooks import Endpoint, Secrets
    from app.ledger.events import EventFeed
    from app.ledger.webhook_deliveries import LedgerDeliveries
    from app.services.events.endpoint_work import EndpointWork

log = logging.getLogger(__name__)

AT_ONCE_IN_ALL = 512
"""Messages that are on their way at once: each has a connection, and a process may often have a thousand only."""

REFRESH_S = 1.0
"""How soon a new, changed or disabled endpoint is noticed."""

PAUSE_AFTER_FAULT_S = 2.0

END_S = 1.0
"""How long messages may still be answered when delivering ends; the others are sent again."""


class Deliverer:
    """Delivers to all endpoints, for as long as this process is the one that does."""

    def __init__(self, ledger: LedgerDeliveries, feed: EventFeed, new_work: Callable[[Endpoint], EndpointWork]) -> None:
        self._ledger = ledger
        self._feed = feed
        self._new_work = new_work
        self._tasks: dict[str, tuple[EndpointWork, asyncio.Task[None]]] = {}
        self._is_ending = False

    async def run(self, may_deliver: Callable[[], bool], stopped: asyncio.Event) -> None:
        """Deliver until told to stop, whatever fails meanwhile."""
        refreshed_at = float("-inf")
        while not stopped.is_set():
            try:
                if time.monotonic() - refreshed_at >= REFRESH_S:
                    refreshed_at = time.monotonic()
                    await (self.refresh() if await asyncio.to_thread(may_deliver) else self._drop(set()))
                if self._tasks:
                    await self._look()
            except Fault as fault:
                log.warning("webhooks wait: %s: %s", type(fault).__name__, fault)
                await self._drop(set())
            await _pause(stopped, LOOK_S)
        await self._end()

    async def _look(self) -> None:
        """Tell every endpoint whether there may be something for it."""
        newest = await asyncio.to_thread(self._feed.sequence)
        next_tries = await asyncio.to_thread(self._ledger.next_tries)
        for endpoint_id, (work, _) in self._tasks.items():
            work.look(newest, next_tries.get(endpoint_id))

    async def refresh(self) -> None:
        """Begin to work for endpoints that are new or have changed, and cease where one is no more."""
        endpoints = await asyncio.to_thread(self._ledger.endpoints)
        secrets: Secrets = await asyncio.to_thread(self._ledger.secrets)
        kept = {one.endpoint_id for one in endpoints if not self._has_changed(one)}
        await self._drop(kept)
        for one in endpoints:
            if one.endpoint_id not in self._tasks:
                work = self._new_work(one)
                self._tasks[one.endpoint_id] = work, asyncio.create_task(self._work(work))
            work = self._tasks[one.endpoint_id][0]
            work.secrets = secrets.get(one.endpoint_id, ())
            work.places = places_of_each(len(endpoints))

    def _has_changed(self, endpoint: Endpoint) -> bool:
        known = self._tasks.get(endpoint.endpoint_id)
        if known is None or known[1].done():
            return True
        was = known[0].endpoint
        return (was.url, was.types, was.state) != (endpoint.url, endpoint.types, endpoint.state)

    async def _work(self, work: EndpointWork) -> None:
        try:
            while not work.is_gone and not self._is_ending:
                if not await work.round():
                    await asyncio.sleep(LOOK_S)
            await work.end(END_S)
        except Fault as fault:
            log.warning("endpoint %s waits: %s", work.endpoint.endpoint_id, fault)  # begun again from what is on record
        except Exception:
            log.exception("endpoint %s failed", work.endpoint.endpoint_id)
            await asyncio.sleep(PAUSE_AFTER_FAULT_S)
        finally:
            await work.abandon()

    async def _drop(self, kept: Collection[str]) -> None:
        dropped = [self._tasks.pop(endpoint_id)[1] for endpoint_id in self._tasks.keys() - kept]
        for task in dropped:
            task.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)

    async def _end(self) -> None:
        """End when every endpoint's answers are on record, or cannot be."""
        self._is_ending = True
        if tasks := [task for _, task in self._tasks.values()]:
            await asyncio.wait(tasks, timeout=3 * END_S)
        await self._drop(set())


def places_of_each(endpoints: int) -> int:
    """How many messages may be on their way to each of so many endpoints at once."""
    return max(1, min(AT_ONCE, AT_ONCE_IN_ALL // max(1, endpoints)))


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        return
