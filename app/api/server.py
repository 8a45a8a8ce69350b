"""The API on granian's event loop (RSGI): `granian --interface rsgi workers.api:application`.

The loop reads every body whole before a thread is taken for its request, with a deadline and a bound, so a client that
sends slowly holds nothing but its own connection. Requests that touch a server run in a pool of threads; whether the
process lives is answered by the loop itself, however busy the pool is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.api.context import ApiServices
from app.api.gate import Admitted, Gate
from app.api.request_refusals import body_cut_off, body_too_large, body_too_slow, too_many_bodies
from app.api.request_threads import RequestThreads
from app.api.responses import Answer, Refused
from app.api.routes import Route, is_of_api
from app.domain.origin import Origin, set_origin
from app.services.events.feed import READERS

log = logging.getLogger(__name__)

Loop = asyncio.AbstractEventLoop

THREADS = 64
"""Requests of one process at work at once, and as many streams of lines. One that waits for the ledger holds a thread,
so there are more than cores could use."""

LONGEST_SILENCE_S = 30.0
"""Between two pieces of a stream of lines, which may last for hours."""

BODIES_IN_MEMORY = 256 * 1024 * 1024
"""Bytes of bodies that one process holds while they arrive; beyond, a request is refused and may be repeated."""

AWAITED_WHOLE = 1024 * 1024
"""Bytes up to which a body is awaited in one piece: each piece costs two switches of threads."""

ON_THE_LOOP = frozenset({"/healthz"})
"""What is answered without a thread: it touches no server."""

Pages = Callable[[Any, Any], Awaitable[None]]
"""What answers the paths that are not the API's."""


class RsgiRequest:
    """A request of granian as the gate takes it."""

    __slots__ = ("_headers", "method", "path", "peer", "query")

    def __init__(self, scope: Any) -> None:
        self.method: str = scope.method
        self.path: str = scope.path
        self.query: str = scope.query_string
        self.peer: str | None = scope.client
        self._headers = scope.headers

    def header(self, name: str) -> str | None:
        """A header's value; None where there is none."""
        value: str | None = self._headers.get(name.lower())
        return value


class Server:
    """The application that granian calls, one in each of its processes."""

    def __init__(
        self, here: ApiServices, routes: Iterable[Route], *, body_deadline_s: int, pages: Pages | None = None
    ) -> None:
        """A body must arrive within `body_deadline_s` after its request's head; `pages` answer all other paths."""
        self._here = here
        self._body_deadline_s = body_deadline_s
        self._pages = pages
        self._gate = Gate(here, routes)
        self._requests = RequestThreads(THREADS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stream")
        self._followers = ThreadPoolExecutor(READERS + 1, thread_name_prefix="events")  # the one more refuses
        self._held = 0

    def __rsgi_init__(self, _loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen for what the ledger answers: once a process, after the fork."""
        self._here.start()

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        """Write what is left to be recorded: at an orderly stop."""
        self._here.stop()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        request = RsgiRequest(scope)
        if self._pages is not None and not is_of_api(request.path):
            await self._pages(scope, protocol)
            return
        origin = self._gate.receive(request)
        loop = asyncio.get_running_loop()
        try:
            if request.path in ON_THE_LOOP:
                admitted = self._gate.admit(request, origin)
                _send(protocol, request, self._gate.answer(admitted, b""))
                return
            if self._gate.admits_at_once(request):
                admitted = self._gate.admit(request, origin)
            else:
                admitted = await loop.run_in_executor(self._threads, self._gate.admit, request, origin)
            if admitted.takes_lines:
                await self._stream(request, admitted, protocol)
                return
            raw = await self._body(request, admitted, protocol)
        except Exception as error:
            _send(protocol, request, self._gate.refuse(error, origin), closes=True)
            return
        if admitted.route.is_stream:
            await loop.run_in_executor(self._followers, self._answer, protocol, request, admitted, raw, loop)
            return
        await self._requests.run(lambda: self._answer(protocol, request, admitted, raw, loop))

    def _answer(self, protocol: Any, request: RsgiRequest, admitted: Admitted, raw: bytes, loop: Loop) -> None:
        """Answer a request from its own thread."""
        answer = self._gate.answer(admitted, raw)
        if isinstance(answer.body, bytes) or request.method == "HEAD":
            _send(protocol, request, answer)
            _close(answer.body)
        else:
            transport = protocol.response_stream(answer.status, answer.headers)
            _send_pieces(answer.body, transport, loop, admitted.origin)

    # Bodies

    async def _body(self, request: RsgiRequest, admitted: Admitted, protocol: Any) -> bytes:
        """The whole body; raises Refused for one that is too long, too slow, or shorter than it said."""
        length = request.header("Content-Length")
        if length is None and request.header("Transfer-Encoding") is None:
            return b""
        limit = max(admitted.largest_body, 1)
        if length is not None and int(length) > limit:
            raise Refused(body_too_large(limit))
        try:
            async with asyncio.timeout(self._body_deadline_s):
                if length is not None and int(length) <= AWAITED_WHOLE:
                    raw = await self._read_whole(protocol, int(length))
                else:
                    raw = await self._read(protocol, limit)
        except TimeoutError:
            raise Refused(body_too_slow(self._body_deadline_s)) from None
        if len(raw) != int(length) if length is not None else not raw:
            raise Refused(body_cut_off())
        return raw

    async def _read_whole(self, protocol: Any, length: int) -> bytes:
        self._held += length
        try:
            if self._held > BODIES_IN_MEMORY:
                raise Refused(too_many_bodies())
            raw: bytes = await protocol()
        except (RuntimeError, OSError):  # the client has gone, or broken the protocol
            raise Refused(body_cut_off()) from None
        finally:
            self._held -= length
        return raw

    async def _read(self, protocol: Any, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in protocol:
                size += len(piece)
                self._held += len(piece)
                if size > limit:
                    raise Refused(body_too_large(limit))
                if self._held > BODIES_IN_MEMORY:
                    raise Refused(too_many_bodies())
                pieces.append(piece)
        except (RuntimeError, OSError):  # the client has gone, or broken the protocol
            raise Refused(body_cut_off()) from None
        finally:
            self._held -= size
        return b"".join(pieces)

    # Streams of lines

    async def _stream(self, request: RsgiRequest, admitted: Admitted, protocol: Any) -> None:
        """Answer a stream of lines while it arrives, from a thread of the pool."""
        loop = asyncio.get_running_loop()
        arriving = ArrivingBody(protocol, loop)
        answer = await loop.run_in_executor(self._threads, self._gate.answer, admitted, b"", arriving)
        if isinstance(answer.body, bytes):
            _send(protocol, request, answer, closes=True)
            return
        transport = protocol.response_stream(answer.status, answer.headers)
        await loop.run_in_executor(self._threads, _send_pieces, answer.body, transport, loop, admitted.origin)


class ArrivingBody:
    """A body that is read by a thread while it arrives on the loop."""

    def __init__(self, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._pieces = protocol.__aiter__()
        self._loop = loop
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """What has arrived, up to `size` bytes; waits where nothing has. None at the end, or without a client."""
        if not self._rest:
            self._rest = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(LONGEST_SILENCE_S):
                while True:
                    piece: bytes = await anext(self._pieces)
                    if piece:
                        return piece
        except (StopAsyncIteration, TimeoutError, RuntimeError, OSError):
            return b""


def _send_pieces(pieces: Iterator[bytes], transport: Any, loop: asyncio.AbstractEventLoop, origin: Origin) -> None:
    """Send the answers to a stream, each as it is made; a client that has gone ends it."""
    set_origin(origin)
    try:
        for piece in pieces:
            asyncio.run_coroutine_threadsafe(_sent(transport, piece), loop).result()
    except (RuntimeError, OSError) as error:
        log.info("a stream was given up by its client: %s", error)
    finally:
        _close(pieces)


def _close(body: object) -> None:
    """Let go of what a body holds."""
    close = getattr(body, "close", None)
    if close is not None:
        close()


async def _sent(transport: Any, piece: bytes) -> None:
    await transport.send_bytes(piece)


def _send(protocol: Any, request: RsgiRequest, answer: Answer, *, closes: bool = False) -> None:
    """Send an answer that is one piece; `closes` the connection where a part of the body may still be on its way."""
    headers = answer.headers
    if closes and (request.header("Content-Length") or request.header("Transfer-Encoding")):
        headers = [*headers, ("connection", "close")]
    if request.method == "HEAD" or not isinstance(answer.body, bytes) or not answer.body:
        protocol.response_empty(answer.status, headers)
    else:
        protocol.response_bytes(answer.status, headers, answer.body)
