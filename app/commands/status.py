"""`status`: what runs on a data directory, and whether it takes payments.

Exit code 0 when it is ready, 1 when it is not, 3 when nothing runs there. It needs no packages and changes nothing.
"""

import argparse
import http.client
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.commands.connection import readiness
from app.embedded.attach import Running, announced, holder

READY, NOT_READY, NOT_RUNNING = 0, 1, 3


@dataclass
class Status:
    """What is told; the same fields as JSON."""

    state: str
    """`ready`, `not_ready`, `starting` (or another command at work) or `not_running`."""
    data_dir: str
    pid: int | None = None
    started_at: str | None = None
    api: str | None = None
    backlog: int | None = None
    """How many intents wait for the ledger; None while that is not known."""
    checks: dict[str, Any] | None = None
    processes: dict[str, int] | None = None
    ended: list[str] | None = None
    """Processes that do not run at the moment."""

    @property
    def exit_code(self) -> int:
        """For scripts."""
        return {"ready": READY, "not_running": NOT_RUNNING}.get(self.state, NOT_READY)


def run(arguments: argparse.Namespace) -> int:
    """Looks once, and tells."""
    status = look(arguments.data_dir.resolve())
    print(json.dumps(asdict(status), indent=2) if arguments.json else as_text(status))
    return status.exit_code


def look(data_dir: Path) -> Status:
    """What runs there now."""
    pid = holder(data_dir)
    if pid is None:
        return Status("not_running", str(data_dir))
    running = announced(data_dir)
    if running is None:
        return Status("starting", str(data_dir), pid)
    return _look_at(running, data_dir)


def _look_at(running: Running, data_dir: Path) -> Status:
    host = f"[{running.host}]" if ":" in running.host else running.host
    api = f"http://{host}:{running.port}"
    ended = [name for name, pid in running.processes.items() if not _runs(pid)]
    status = Status("not_ready", str(data_dir), running.pid, running.started_at, api)
    status.processes, status.ended = running.processes, ended
    try:
        code, body = readiness(running.host, running.port)
        answer = json.loads(body)
        status.backlog, status.checks = answer["backlog"], answer["checks"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        status.checks = {"api": {"ok": False, "detail": f"/readyz does not answer: {type(error).__name__}"}}
        return status
    if code == 200:
        status.state = "ready"
    return status


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def as_text(status: Status) -> str:
    """For a person."""
    if status.state == "not_running":
        return f"Nothing runs on {status.data_dir}."
    if status.state == "starting":
        return f"Process {status.pid} is starting or stopping the system on {status.data_dir}, or runs a command on it."
    backlog = "unknown" if status.backlog is None else f"{status.backlog:,} intents wait for the ledger"
    processes = [f"{name} {pid}" for name, pid in (status.processes or {}).items() if name not in (status.ended or ())]
    lines = [f"Holdfast is {status.state.replace('_', ' ')}, since {status.started_at}, as process {status.pid}."]
    lines += ["", f"  API        {status.api}", f"  data       {status.data_dir}", f"  backlog    {backlog}"]
    lines += [f"  processes  {', '.join(processes)}"]
    lines += [f"  ended      {', '.join(status.ended)}"] if status.ended else []
    checks = (status.checks or {}).items()
    lines += [f"  {name:<10} {'' if one['ok'] else 'NOT READY: '}{one['detail']}" for name, one in checks]
    return "\n".join(lines)
