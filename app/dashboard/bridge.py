"""The pages on granian's event loop: a WSGI application called from a few threads of its own.

The pages live in the processes of the API, so that `/` of the running system leads to them with no process and no port
more. They take no thread and no connection from payments, and nothing of them is imported before somebody opens a page.
"""

import asyncio
import io
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from threading import Lock
from typing import Any

log = logging.getLogger(__name__)

THREADS = 4
"""Pages of one process at work at once: a handful of people, each waiting for one page."""

LARGEST_FORM = 1024 * 1024
LARGEST_UPLOAD = 16 * 1024 * 1024
UPLOADS = frozenset({"/statements/import"})
"""The paths that take a file."""

FORM_DEADLINE_S = 20.0
LARGEST_PIECE = 256 * 1024
"""Bytes of an answer that is sent whole; a longer one, such as an export, is sent while it is made."""

Application = Callable[[dict[str, Any], Any], Any]


class Pages:
    """What answers granian for every path that is not the API's."""

    def __init__(self, make: Callable[[], Application]) -> None:
        """`make` builds the application, at the first request."""
        self._make = make
        self._making = Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="page")

    async def __call__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        loop = asyncio.get_running_loop()
        body = await _body(scope, protocol)
        if body is None:
            protocol.response_str(
                413, [("content-type", "text/plain"), ("connection", "close")], "Too large or too slow."
            )
            return
        try:
            status, headers, pieces = await loop.run_in_executor(self._threads, self._answer, scope, body)
            first = await loop.run_in_executor(self._threads, _whole_or_first, pieces)
        except Exception:
            log.exception("the pages cannot answer")
            protocol.response_str(503, [("content-type", "text/plain")], "The pages are not available at the moment.")
            return
        if isinstance(first, bytes):
            protocol.response_bytes(status, headers, first) if first else protocol.response_empty(status, headers)
            return
        transport = protocol.response_stream(status, headers)
        await loop.run_in_executor(self._threads, _stream, first, pieces, transport, loop)

    @cached_property
    def _application(self) -> Application:
        return self._make()

    def _answer(self, scope: Any, body: bytes) -> tuple[int, list[tuple[str, str]], Iterator[bytes]]:
        with self._making:
            application = self._application
        begun: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            begun[:] = [int(status.partition(" ")[0]), [(name.lower(), value) for name, value in headers]]

        pieces = iter(application(environ_of(scope, body), start_response))
        return begun[0], begun[1], pieces


async def _body(scope: Any, protocol: Any) -> bytes | None:
    """The whole body; None if it is too long or too slow."""
    headers = scope.headers
    if headers.get("content-length") is None and headers.get("transfer-encoding") is None:
        return b""
    pieces: list[bytes] = []
    size = 0
    largest = LARGEST_UPLOAD if scope.path in UPLOADS else LARGEST_FORM
    try:
        async with asyncio.timeout(FORM_DEADLINE_S):
            async for piece in protocol:
                pieces.append(piece)
                size += len(piece)
                if size > largest:
                    return None
    except (TimeoutError, RuntimeError, OSError):
        return None
    return b"".join(pieces)


def environ_of(scope: Any, body: bytes) -> dict[str, Any]:
    """A request of granian as WSGI has it. Paths are decoded already; WSGI wants their bytes as latin-1."""
    host, _, port = (scope.server or "").rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": (scope.client or "").rpartition(":")[0].strip("[]"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key != "CONTENT_LENGTH":
            joined = environ.get(f"HTTP_{key}")
            environ[f"HTTP_{key}"] = value if joined is None else f"{joined}{'; ' if key == 'COOKIE' else ', '}{value}"
    return environ


def _whole_or_first(pieces: Iterator[bytes]) -> bytes | list[bytes]:
    """The whole answer; or its first pieces, if it is long."""
    taken: list[bytes] = []
    size = 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size > LARGEST_PIECE:
            return taken
    _close(pieces)
    return b"".join(taken)


def _stream(first: list[bytes], rest: Iterator[bytes], transport: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Send an answer while it is made; a client that has gone ends it."""
    try:
        for piece in chain(first, rest):
            asyncio.run_coroutine_threadsafe(_sent(transport, piece), loop).result()
    except (RuntimeError, OSError) as error:
        log.info("a page was given up by its client: %s", error)
    finally:
        _close(rest)


async def _sent(transport: Any, piece: bytes) -> None:
    await transport.send_bytes(piece)


def _close(pieces: Iterator[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
