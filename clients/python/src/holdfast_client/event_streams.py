"""Server-sent events as they come over the line, and how a stream goes on after a break: without input or output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast_client.codec import read
from holdfast_client.models import Event

SILENCE_S = 30.0
"""A stream that says nothing for so long has broken: the server says each ten seconds that it lives."""

LONGEST_POLL_S = 20


def poll_s(deadline_s: float) -> int:
    """How long one question for events waits, so that its answer comes before the deadline."""
    return int(min(LONGEST_POLL_S, deadline_s / 2))


@dataclass(slots=True)
class EventLines:
    """Puts the lines of a stream together to events. `cursor` is where to go on; it moves on without events too."""

    cursor: str | None = None
    retry_s: float = 1.0
    _id: str | None = None
    _data: list[str] = field(default_factory=list)

    def add(self, line: str) -> Iterator[Event]:
        """Take one line, without its end; an empty one completes an event."""
        if line:
            self._take(line)
            return
        data, self._data = self._data, []
        # The cursor moves before the event is handed on: an event that was taken is not asked for again.
        self.cursor = self._id or self.cursor
        if data:
            yield read(Event, json.loads("\n".join(data)))

    def broken(self) -> None:
        """Forget half an event; the stream tells it again."""
        self._id, self._data = None, []

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and "\0" not in value:
            self._id = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry" and value.isdecimal():
            self.retry_s = int(value) / 1_000
