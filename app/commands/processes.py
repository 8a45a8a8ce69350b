"""The processes that `up` runs: their command lines, and how long each may take to finish its work."""

import argparse
import sys
from pathlib import Path

from app.supervisor import Service, Supervisor

API = "api"
FIRST_DRAIN = "drain-1"
HEADER_DEADLINE_MS = 10_000  # a connection that sends no request is closed
API_DRAIN_SECONDS = 3  # requests in progress at a stop; a client that is cut off repeats with its external_id
WORKER_SECONDS = 15.0  # a worker finishes its batch first


def processes(arguments: argparse.Namespace, data_dir: Path) -> list[list[Service]]:
    """Groups in order of their start; they stop in the opposite order, the API first."""
    logs = data_dir / "logs"
    drains = [worker(f"drain-{number}", "drain", logs) for number in range(1, arguments.workers + 1)]
    return [
        [*drains, worker("maintain", "maintain", logs)],
        [worker("schedule", "schedule", logs)],
        [api(arguments, logs)],
    ]


def worker(name: str, module: str, logs: Path) -> Service:
    """A process of `workers/`."""
    return Service(name, [sys.executable, "-m", f"workers.{module}"], logs / f"{name}.log", WORKER_SECONDS)


def api(arguments: argparse.Namespace, logs: Path) -> Service:
    """The API under granian.

    HTTP/1 only and no websockets, because nothing else is served; one runtime thread a process, because the work is
    done in Python; failed workers come back by themselves, and a crash loop ends granian so that we see it.
    """
    command = [sys.executable, "-m", "workers.granian_server", "--interface", "rsgi", "workers.api:application"]
    command += ["--host", arguments.host, "--port", str(arguments.port)]
    command += ["--workers", str(arguments.api_workers), "--http1-header-read-timeout", str(HEADER_DEADLINE_MS)]
    command += ["--http", "1", "--no-ws", "--runtime-threads", "1", "--backlog", "2048"]
    command += ["--respawn-failed-workers", "--workers-kill-timeout", str(API_DRAIN_SECONDS)]
    command += ["--log-level", "warning", "--no-access-log"]
    return Service(API, command, logs / "api.log", API_DRAIN_SECONDS + 5.0, replaces_its_own=True)


def api_service(supervisor: Supervisor) -> Service:
    """The API among the services."""
    return next(service for service in supervisor.services() if service.name == API)
