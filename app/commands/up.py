"""`up`: starts the whole system as one process tree, keeps it running, and stops it in order."""

import argparse
import importlib
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from app.bootstrap import step
from app.command_line import PROJECT
from app.commands.api_probe import require_port, wait_until_ready
from app.commands.processes import api_service, processes
from app.embedded.attach import External, Running, announce, check_cache, check_database, exclusive
from app.embedded.cache_damage import WAYS
from app.embedded.credentials import write_private
from app.embedded.servers import EmbeddedServers, ServerUrls, prepare_directory
from app.settings import Settings, settings_from
from app.supervisor import Supervisor

ROUND_SECONDS = 0.1  # how often the processes are looked after


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to listen and how many processes to run."""
    parser.add_argument("--host", default="127.0.0.1", help="address of the API (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port of the API (default %(default)s)")
    parser.add_argument(
        "--workers", type=count, default=2, metavar="N", help="processes that post to the ledger (default 2)"
    )
    parser.add_argument(
        "--damaged-cache",
        choices=WAYS,
        help="what to do if the embedded cache cannot load its data: cut it off at the damage, or set it aside; a copy "
        "stays, and data that loads is left alone",
    )
    parser.add_argument("--api-workers", type=count, default=2, metavar="N", help="processes of the API (default 2)")


def count(text: str) -> int:
    """At least one."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Starts everything, looks after it until asked to stop, and stops it in order."""
    data_dir = prepare_directory(arguments.data_dir)
    began = time.monotonic()
    interruption = Interruption()
    try:
        with exclusive(data_dir) as has_dead_predecessor:
            require_port(arguments.host, arguments.port, wait=has_dead_predecessor)
            with started(arguments, data_dir, interruption) as (supervisor, servers, urls):
                wait_until_ready(arguments.host, arguments.port, supervisor)
                announce(data_dir, running(arguments, urls))
                print(banner(arguments, data_dir, urls, time.monotonic() - began), flush=True)
                look_after(supervisor, servers)
    except KeyboardInterrupt:
        print("holdfast: stopped", flush=True)
    return 0


class Interruption:
    """Turns the first Ctrl-C or SIGTERM into an orderly stop, and any further one into a hasty stop."""

    def __init__(self) -> None:
        """Takes over the signals."""
        self.hasten: Callable[[], None] = lambda: None
        self._requested = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._requested:
            self.hasten()
            return
        self._requested = True
        raise KeyboardInterrupt


@contextmanager
def started(
    arguments: argparse.Namespace, data_dir: Path, interruption: Interruption
) -> Iterator[tuple[Supervisor, EmbeddedServers, ServerUrls]]:
    """Servers, schema, first key and processes; all stopped in order at the end, whatever ended it.

    The API's processes are started while the databases boot, because they take the longest and connect lazily;
    not so when the schema may not exist yet.
    """
    external = External.of(os.environ)
    check(external)
    servers = external.embedded(data_dir, damaged_cache=arguments.damaged_cache)
    is_first_start = servers.creates_database
    try:
        with step("creating the database" if is_first_start else "starting the servers"):
            servers.begin()
            urls = external.urls(servers)
            environment = child_environment(urls, data_dir)
            supervisor = Supervisor(processes(arguments, data_dir), environment, PROJECT, say)
            interruption.hasten = supervisor.hasten
    except BaseException:
        servers.stop()
        raise
    try:
        if external.database_url is None and not is_first_start:
            api_service(supervisor).start(environment, PROJECT)
        servers.finish()
        if external.redis_url is None and servers.cache.treatment:
            say(servers.cache.treatment)
        settings = settings_from(environment)
        migrate(settings)
        create_first_key(settings, data_dir)
        supervisor.start()
        yield supervisor, servers, urls
    finally:
        print(flush=True)
        with step("stopping"):
            supervisor.stop()
            servers.stop()


def check(external: External) -> None:
    """Refuses servers from outside that are out of reach or too old, before anything is started."""
    if external.database_url:
        check_database(external.database_url)
    if external.redis_url:
        check_cache(external.redis_url)


def child_environment(urls: ServerUrls, data_dir: Path) -> dict[str, str]:
    """The environment of the processes; they read their settings from nothing else."""
    return {
        **os.environ,
        "DATABASE_URL": urls.database_url,
        "HOLDFAST_OWNER_DATABASE_URL": urls.owner_database_url,
        "REDIS_URL": urls.redis_url,
        "HOLDFAST_DATA_DIR": str(data_dir),
        "HOLDFAST_SUPERVISED": "1",
        "PYTHONUNBUFFERED": "1",
    }


def migrate(settings: Settings) -> None:
    """Brings the schema up to date, as its owner."""
    if importlib.util.find_spec("app.ledger.migrate") is not None:
        importlib.import_module("app.ledger.migrate").upgrade(settings.owner_database_url, settings.partitions)


def create_first_key(settings: Settings, data_dir: Path) -> None:
    """Creates an API key if there is none at all; keeps it in a file and shows it, this once."""
    if importlib.util.find_spec("app.commands.keys") is None:
        return
    key = importlib.import_module("app.commands.keys").ensure_first_key(settings)
    if key:
        write_private(data_dir / "api-key", f"{key}\n")
        say(f"first API key: {key}")


def look_after(supervisor: Supervisor, servers: EmbeddedServers) -> None:
    """Starts again whatever ends, until interrupted."""
    while True:
        for name in servers.revive():
            say(f"{name} had ended and was started again")
        supervisor.look_after()
        time.sleep(ROUND_SECONDS)


def running(arguments: argparse.Namespace, urls: ServerUrls) -> Running:
    """What other commands need to know."""
    return Running(
        pid=os.getpid(),
        host=arguments.host,
        port=arguments.port,
        owner_database_url=urls.owner_database_url,
        database_url=urls.database_url,
        redis_url=urls.redis_url,
    )


def banner(arguments: argparse.Namespace, data_dir: Path, urls: ServerUrls, seconds: float) -> str:
    """The addresses and files of the system, without secrets."""
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    api = f"http://{host}:{arguments.port}"
    return f"""
Holdfast is ready after {seconds:.1f} s.

  API        {api}
  reference  {api}/v1/openapi.json
  database   {without_password(urls.database_url)}
  cache      {without_password(urls.redis_url)}
  data       {data_dir}
  API key    {data_dir / "api-key"}
  logs       {data_dir / "logs"}
  to stop    Ctrl-C (or SIGTERM to process {os.getpid()})
"""


def without_password(url: str) -> str:
    """A URL that may be shown."""
    scheme, _, rest = url.partition("://")
    credentials, at, address = rest.rpartition("@")
    user = credentials.partition(":")[0]
    return f"{scheme}://{user}{at if user else ''}{address}"


def say(message: str) -> None:
    """Prints one line for the operator."""
    print(f"holdfast: {message}", file=sys.stdout, flush=True)
