"""The threads that answer the requests of one process, beside its event loop.

A thread hands its answer to the server by itself. The loop is not woken for it, because a switch of threads costs more
than most of what a request does; it learns at its next round which requests have ended.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)

ROUND_S = 0.05
"""How long a request that is answered may still count as open on the loop; its client has its answer already."""


class RequestThreads:
    """A fixed number of threads, and the requests that wait for one."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._waiting: SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]]] = SimpleQueue()
        self._ended: deque[asyncio.Future[None]] = deque()
        self._open = 0
        self._watching = False
        self._started = False

    async def run(self, work: Callable[[], None]) -> None:
        """Run `work`, which answers one request, in a thread; returns within a round after it has ended."""
        loop = asyncio.get_running_loop()
        self._start()
        self._conclude()
        ended: asyncio.Future[None] = loop.create_future()
        self._open += 1
        self._waiting.put((work, ended))
        if not self._watching:
            self._watch(loop)
        await ended

    def _start(self) -> None:
        """Start the threads with the first request, so that they belong to the process that serves, after its fork."""
        if not self._started:
            self._started = True
            for number in range(self._number):
                threading.Thread(target=self._serve, name=f"request-{number}", daemon=True).start()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look each round for what has ended, as long as a request is open."""
        self._conclude()
        self._watching = self._open > 0
        if self._watching:
            loop.call_later(ROUND_S, self._watch, loop)

    def _conclude(self) -> None:
        while self._ended:
            ended = self._ended.popleft()
            self._open -= 1
            if not ended.done():
                ended.set_result(None)

    def _serve(self) -> None:
        while True:
            work, ended = self._waiting.get()
            try:
                work()
            except Exception:
                log.exception("an answer could not be sent")
            finally:
                self._ended.append(ended)
