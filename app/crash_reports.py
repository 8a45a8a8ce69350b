"""What the console of `up` tells of a process that ended: how, and the last lines of its log.

Granian replaces the processes of the API by itself and only logs that one was lost. So its log is followed.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from app.embedded.child_process import tail

LINES = 6
"""Lines shown of a process that ended: its last error has one line, and what led to it a few."""

READ_BYTES = 64 * 1024
"""How much of the end of a log is looked at."""

UNEXPECTED_EXIT = "Unexpected exit from worker-"
"""How granian's line about a lost process begins."""

_LOST_PID = re.compile(re.escape(UNEXPECTED_EXIT) + r"\d+: process (\d+)")


def last_lines(log_path: Path, pid: int | None = None, lines: int = LINES) -> str:
    """The last lines of a log as text for people, indented; of one process where its lines can be told apart."""
    try:
        with log_path.open("rb") as log:
            log.seek(max(0, log_path.stat().st_size - READ_BYTES))
            written = log.read().decode(errors="replace").splitlines()
    except OSError:
        return tail(log_path)
    told = [(line, _decoded(line)) for line in written]
    own = [one for one in told if one[1] is not None and one[1].get("pid") == pid]
    shown = [_readable(line, event) for line, event in (own or told)[-lines:]]
    return "\n".join("    " + line for text in shown for line in text.splitlines()) or "    (the log is empty)"


def _decoded(line: str) -> dict[str, object] | None:
    """An event of the log; None for a line that is not one."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "message" in event else None


def _readable(line: str, event: dict[str, object] | None) -> str:
    """An event as text, with the last line of its traceback; any other line as it is."""
    if event is None:
        return line
    text = f"{event.get('time')} {event.get('level')} {event['message']}"
    trace = str(event.get("exc_info") or "").strip().splitlines()
    return f"{text}: {trace[-1]}" if trace else text


class LostProcesses:
    """Follows the log of granian for the processes that it has lost."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._read_up_to = self._size()

    def new(self) -> Iterator[str]:
        """What is to be told of the processes lost since the last look: how each ended, and its last lines."""
        size = self._size()
        begun, self._read_up_to = self._read_up_to, size
        if size == begun:
            return
        with self._log_path.open("rb") as log:
            log.seek(begun if begun < size else 0)
            text = log.read().decode(errors="replace")
        for line in text.splitlines():
            if UNEXPECTED_EXIT in line:
                yield self._told(line)

    def _told(self, line: str) -> str:
        event = _decoded(line)
        message = str(event["message"]) if event else line
        found = _LOST_PID.search(message)
        pid = int(found[1]) if found else None
        return f"{message}; the last lines of its log:\n{last_lines(self._log_path, pid)}"

    def _size(self) -> int:
        try:
            return self._log_path.stat().st_size
        except OSError:
            return 0
