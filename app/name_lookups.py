"""The addresses of names, asked so that a name server that hangs keeps nobody else waiting.

The system's own look-up blocks its thread, for half a minute if no name server answers. So it runs in threads of its
own, for which the process does not wait when it ends. All who want the same name at a time share one look-up.
"""

import asyncio
import socket
from contextlib import suppress
from threading import Thread

Found = list[str] | OSError
"""The addresses of a name, or why there are none."""


class NameLookups:
    """Looks names up, for one event loop."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[Found]] = {}

    async def addresses(self, name: str, port: int) -> list[str]:
        """The addresses of a name; raises OSError if it has none. Who asks at the same time gets the same answer."""
        try:
            return _ask(name, port, socket.AI_NUMERICHOST)  # asks nobody
        except OSError:
            found = await asyncio.shield(self._asked.get((name, port)) or self._begin(name, port))
        if isinstance(found, OSError):
            raise found
        return found

    def _begin(self, name: str, port: int) -> asyncio.Future[Found]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()
        self._asked[name, port] = answer

        def note(found: Found) -> None:
            del self._asked[name, port]
            answer.set_result(found)

        def ask() -> None:
            try:
                found: Found = _ask(name, port)
            except (OSError, UnicodeError) as error:
                found = error if isinstance(error, OSError) else OSError(str(error))
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(note, found)

        Thread(target=ask, name="name look-up", daemon=True).start()
        return answer


def _ask(name: str, port: int, flags: int = 0) -> list[str]:
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)
    return [str(one[4][0]) for one in found]
