"""What a request says and what it has the servers do, so that two of them can be compared."""

import json
import re
from typing import Any

import psycopg
import pytest
from werkzeug.test import TestResponse

from tests.access.world import TwoEntities


class Work:
    """What a request has the ledger and the cache do: the statements, and how often each command was called."""

    BACKGROUND = ("info", "time", "config", "client", "hello", "ping", "select", "scan", "flushdb")
    """Commands that come by the clock, or from the test itself."""

    def __init__(self, world: TwoEntities, monkeypatch: pytest.MonkeyPatch) -> None:
        self._world = world
        self._statements: list[str] = []
        execute = psycopg.Cursor.execute

        def noted(cursor: Any, query: Any, *args: Any, **more: Any) -> Any:
            self._statements.append(re.sub(r" /\*request_id=.*?\*/", "", str(query)))
            return execute(cursor, query, *args, **more)

        monkeypatch.setattr(psycopg.Cursor, "execute", noted)

    def of(self, ask: Any) -> tuple[TestResponse, Any]:
        """The answer to a request, and its work; the second time, when nothing is new to the process."""
        ask()
        before = self._commands()
        self._statements.clear()
        response = ask()
        return response, (list(self._statements), self._since(before))

    def _commands(self) -> dict[str, int]:
        stats: Any = self._world.cache.info("commandstats")
        return {name.removeprefix("cmdstat_"): value["calls"] for name, value in stats.items()}

    def _since(self, before: dict[str, int]) -> dict[str, int]:
        counted = {name: calls - before.get(name, 0) for name, calls in self._commands().items()}
        return {name: calls for name, calls in counted.items() if calls and not name.startswith(self.BACKGROUND)}


OF_THE_REQUEST = ("Content-Length", "Date", "x-request-id")
"""Headers that differ from request to request, whatever it asks about."""


def words(response: TestResponse, *own: str) -> tuple[Any, ...]:
    """What an answer says, without the ids that the request itself named."""
    text = response.text
    for one in own:
        text = text.replace(one, "…")
    headers = {name: value for name, value in response.headers if name not in OF_THE_REQUEST}
    return response.status_code, json.loads(text), headers
