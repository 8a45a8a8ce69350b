"""The processes that `up` runs, and the supervisor that keeps them running.

The supervisor starts them, restarts those that end, and stops all in order.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.crash_reports import LostProcesses, last_lines
from app.embedded.child_process import open_log, start_child

API = "api"
FIRST_DRAIN = "drain-1"
HEADER_DEADLINE_MS = 10_000  # a connection that sends no request is closed
API_DRAIN_SECONDS = 3  # requests in progress at a stop; a client that is cut off repeats with its external_id
WORKER_SECONDS = 15.0  # a worker finishes its batch first

FIRST_BACKOFF_SECONDS = 0.25
LONGEST_BACKOFF_SECONDS = 10.0
STEADY_SECONDS = 30.0  # a process that ran this long has recovered; its next end starts a new count


@dataclass
class Service:
    """One process of the system, and what it takes to run it."""

    name: str
    command: Sequence[str]
    log_path: Path
    patience_seconds: float  # how long it may finish its work before it is killed
    child: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float | None = None  # when to start again; None while it runs
    failures: int = 0
    replaces_its_own: bool = False  # whether it starts processes again by itself, as granian does
    lost: LostProcesses | None = None

    def start(self, environment: Mapping[str, str], directory: Path) -> None:
        """Starts the process; its output goes to its log."""
        with open_log(self.log_path) as log:
            if self.replaces_its_own:
                self.lost = LostProcesses(self.log_path)
            self.child = start_child(self.command, log=log, environment=environment, directory=directory)
        self.started_at = time.monotonic()
        self.due_at = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.child is not None and self.child.poll() is None

    def note_end(self, now: float) -> float:
        """Kills what is left of a process that ended, and decides when to start it again; returns the delay."""
        self.kill_group()
        if now - self.started_at > STEADY_SECONDS:
            self.failures = 0
        return self.postpone(now)

    def postpone(self, now: float) -> float:
        """Plans the next start, later after each failure; returns the delay."""
        self.failures = min(self.failures + 1, 30)
        delay: float = min(FIRST_BACKOFF_SECONDS * 2 ** (self.failures - 1), LONGEST_BACKOFF_SECONDS)
        self.due_at = now + delay
        return delay

    def ask_to_stop(self) -> None:
        """Asks the process to finish its work and end."""
        if self.child is not None and self.alive:
            self.child.terminate()

    def stop(self) -> None:
        """Waits for the process to end, and kills it when its time is up.

        It is asked only once: a second signal tells a worker to drop its work.
        """
        if self.child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(self.patience_seconds)
            self.kill_group()
            self.child.wait()
            self.child = None

    def kill_group(self) -> None:
        """Kills the process and its own children at once: those that survive their parent would keep the port."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)


@dataclass
class Supervisor:
    """The services in groups; groups start in order of the list and stop in the opposite order."""

    groups: Sequence[Sequence[Service]]
    environment: Mapping[str, str]
    """What the services are told; without the owner's URL of the database, which only migrations need."""
    directory: Path
    say: Callable[[str], None] = field(default=print)

    def start(self, *names: str) -> None:
        """Starts the services of these names, or all, unless they run already."""
        for service in self.services():
            if service.child is None and (not names or service.name in names):
                service.start(self.environment, self.directory)

    def services(self) -> list[Service]:
        """All of them."""
        return [service for group in self.groups for service in group]

    @property
    def processes(self) -> dict[str, int]:
        """The process ids of the services that run, by name."""
        return {one.name: one.child.pid for one in self.services() if one.child is not None and one.alive}

    def look_after(self) -> None:
        """One round: notices processes that ended, and restarts those whose pause is over."""
        now = time.monotonic()
        for service in self.services():
            for told in service.lost.new() if service.lost else ():
                self.say(f"{service.name}: {told}")
            if service.child is None or service.alive:
                continue
            if service.due_at is None:
                ended = describe(service.child.returncode)
                delay = service.note_end(now)
                again = f"starting again in {delay:.2g} s (log: {service.log_path}); its last lines:"
                self.say(f"{service.name} {ended}; {again}\n{last_lines(service.log_path)}")
            elif now >= service.due_at:
                self._start_again(service, now)

    def _start_again(self, service: Service, now: float) -> None:
        try:
            service.start(self.environment, self.directory)
        except (OSError, subprocess.SubprocessError) as error:  # no memory, no disk space: it may pass
            delay = service.postpone(now)
            self.say(f"{service.name} could not be started again, next try in {delay:.2g} s: {error}")

    def stop(self) -> None:
        """Stops group by group, the last one first, so that no process outlives one that it depends on."""
        for group in reversed(self.groups):
            for service in group:
                service.ask_to_stop()
            for service in group:
                service.stop()

    def hasten(self) -> None:
        """Kills what is still finishing its work."""
        for service in self.services():
            service.kill_group()


def describe(return_code: int) -> str:
    """How a process ended, in words."""
    if return_code < 0:
        return f"was killed by {signal.Signals(-return_code).name}"
    return f"ended with exit code {return_code}"


def processes(arguments: argparse.Namespace, data_dir: Path) -> list[list[Service]]:
    """Groups in order of their start; they stop in the opposite order, the API first."""
    logs = data_dir / "logs"
    drains = [worker(f"drain-{number}", "drain", logs) for number in range(1, arguments.workers + 1)]
    return [
        [*drains, worker("maintain", "maintain", logs), worker("deliver", "deliver", logs)],
        [worker("schedule", "schedule", logs)],
        [api(arguments, logs)],
    ]


def worker(name: str, module: str, logs: Path) -> Service:
    """A process of `workers/`."""
    return Service(name, [sys.executable, "-m", f"workers.{module}"], logs / f"{name}.log", WORKER_SECONDS)


def api(arguments: argparse.Namespace, logs: Path) -> Service:
    """The API under granian.

    HTTP/1 only and no websockets, because nothing else is served; one runtime thread a process, because the work is
    done in Python; uvloop, because asyncio's own loop takes a sixth more processor time a request; failed workers come
    back by themselves, and a crash loop ends granian so that we see it.
    """
    command = [sys.executable, "-m", "workers.granian_server", "--interface", "rsgi", "workers.api:application"]
    command += ["--host", arguments.host, "--port", str(arguments.port)]
    command += ["--workers", str(arguments.api_workers), "--http1-header-read-timeout", str(HEADER_DEADLINE_MS)]
    command += ["--http", "1", "--no-ws", "--runtime-threads", "1", "--loop", "uvloop", "--backlog", "2048"]
    command += ["--respawn-failed-workers", "--workers-kill-timeout", str(API_DRAIN_SECONDS)]
    command += ["--log-level", "warning", "--no-access-log"]
    return Service(API, command, logs / "api.log", API_DRAIN_SECONDS + 5.0, replaces_its_own=True)


def api_service(supervisor: Supervisor) -> Service:
    """The API among the services."""
    return next(service for service in supervisor.services() if service.name == API)
