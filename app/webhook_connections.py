"""Connections to receivers of webhooks, kept for the next message.

Each is in a client of its own: httpx looks at every connection of a client before and after each request, and with
sixteen of them that takes longer than the request.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx

MOST_KEPT = 256
"""Idle connections; beyond these the one that was idle for longest is closed."""


class Connections:
    """Clients with one connection each, kept by the name and port that it leads to."""

    def __init__(self, new_client: Callable[[], httpx.AsyncClient]) -> None:
        self._new_client = new_client
        self._idle: dict[httpx.AsyncClient, str] = {}

    @asynccontextmanager
    async def to(self, netloc: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client that nobody else uses meanwhile; never one whose connection leads to another name."""
        client = self._latest(netloc) or self._new_client()
        self._idle.pop(client, None)
        try:
            yield client
        finally:
            self._idle[client] = netloc
            if len(self._idle) > MOST_KEPT:
                await self._close(next(iter(self._idle)))

    def _latest(self, netloc: str) -> httpx.AsyncClient | None:
        return next((client for client, to in reversed(self._idle.items()) if to == netloc), None)

    async def _close(self, client: httpx.AsyncClient) -> None:
        del self._idle[client]
        await client.aclose()

    async def close(self) -> None:
        """Close all connections."""
        for client in [*self._idle]:
            await self._close(client)
