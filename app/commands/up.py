"""`up`: starts the whole system as one process tree, keeps it running, and stops it in order."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from app.bootstrap import step
from app.command_line import PROJECT
from app.commands.connection import require_port, wait_until_ready
from app.embedded.attach import External, Running, address_of, announce, check_cache, check_database, exclusive, plain
from app.embedded.private_files import write_private
from app.embedded.servers import EmbeddedServers, ServerUrls, prepare_directory
from app.metrics_directory import metrics_directory
from app.settings import Settings, settings_from
from app.supervisor import API, FIRST_DRAIN, Supervisor, processes

ROUND_SECONDS = 0.1  # how often the processes are looked after


def run(arguments: argparse.Namespace) -> int:
    """Starts everything, looks after it until asked to stop, and stops it in order."""
    data_dir = prepare_directory(arguments.data_dir)
    began = time.monotonic()
    interruption = Interruption()
    try:
        with exclusive(data_dir) as has_dead_predecessor:
            require_port(arguments.host, arguments.port, wait=has_dead_predecessor)
            with (
                metrics_directory(data_dir),
                started(arguments, data_dir, interruption) as (supervisor, servers, urls),
            ):
                wait_until_ready(arguments.host, arguments.port, supervisor)
                seconds = time.monotonic() - began
                supervisor.start()
                announcement = Announcement(data_dir, running(arguments, urls))
                announcement.renew({**servers.processes, **supervisor.processes})
                print(banner(arguments, data_dir, urls, seconds), flush=True)
                look_after(supervisor, servers, announcement)
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
    """Servers, schema, first key and processes; all stopped in order at the end, whatever ended it."""
    external = External.of(os.environ)
    check(external)
    servers = external.embedded(data_dir, damaged_cache=arguments.damaged_cache)
    is_first_start = servers.creates_database
    try:
        with step("creating the database" if is_first_start else "starting the servers"):
            servers.begin()
            urls = external.urls(servers)
            environment = child_environment(urls, data_dir) | log_format(arguments)
            supervisor = Supervisor(processes(arguments, data_dir), environment, PROJECT, say)
            interruption.hasten = supervisor.hasten
    except BaseException:
        servers.stop()
        raise
    try:
        if external.database_url is None and not is_first_start:
            start_what_readiness_needs(supervisor, servers)
        servers.finish()
        if external.redis_url is None and servers.cache.treatment:
            say(servers.cache.treatment)
        prepare_database(
            settings_from(environment), urls.owner_database_url, data_dir, address_of(arguments.host, arguments.port)
        )
        start_what_readiness_needs(supervisor, servers)
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


def start_what_readiness_needs(supervisor: Supervisor, servers: EmbeddedServers) -> None:
    """Starts the API and one drain.

    To import what they need keeps the cores busy for seconds, so the others wait until the API is ready; and on a
    database that was migrated before, these begin while it boots, because they connect to it only when they use it.
    """
    supervisor.start(API)
    servers.finish_cache()
    supervisor.start(FIRST_DRAIN)


def child_environment(urls: ServerUrls, data_dir: Path) -> dict[str, str]:
    """The environment of the processes, which read their settings from nothing else.

    The owner's URL is not in it: only migrations need it, and they run in this process.
    """
    own = {name: value for name, value in os.environ.items() if name != "HOLDFAST_OWNER_DATABASE_URL"}
    return {
        **own,
        "DATABASE_URL": urls.database_url,
        "REDIS_URL": urls.redis_url,
        "HOLDFAST_DATA_DIR": str(data_dir),
        "HOLDFAST_SUPERVISED": "1",
        "PROMETHEUS_MULTIPROC_DIR": str(data_dir / "metrics"),
        "PYTHONUNBUFFERED": "1",
    }


def log_format(arguments: argparse.Namespace) -> dict[str, str]:
    """The setting for how the processes log, where the command line says it."""
    return {"HOLDFAST_LOG_FORMAT": arguments.log_format} if arguments.log_format else {}


def prepare_database(settings: Settings, owner_database_url: str, data_dir: Path, address: str) -> None:
    """Brings the schema up to date as its owner; creates an API key, and invites an admin, if there is none at all.

    A new key and the admin's link are kept in files, and shown this once. What this takes is imported only where there
    is something to do.
    """
    from app.ledger.migrate import is_prepared, set_audit_retention, upgrade

    if is_prepared(plain(settings.database_url), settings.audit_retention_days):
        return
    from app.commands.keys import ensure_first_key
    from app.commands.users import FIRST_ADMIN, ensure_first_user

    upgrade(owner_database_url, settings.partitions)
    set_audit_retention(owner_database_url, settings.audit_retention_days)
    if key := ensure_first_key(owner_database_url):
        write_private(data_dir / "api-key", f"{key}\n")
        say(f"first API key: {key}")
    if link := ensure_first_user(owner_database_url, settings.public_url or address):
        write_private(data_dir / "admin-link", f"{link}\n")
        say(f"first admin: {FIRST_ADMIN} sets a password at {link}")


class Announcement:
    """What the running system tells other commands, kept up to date."""

    def __init__(self, data_dir: Path, running: Running) -> None:
        """Nothing is told yet."""
        self._data_dir = data_dir
        self._running = running

    def renew(self, processes: dict[str, int]) -> None:
        """Tells it again where processes have come or gone; a full disk only puts it off."""
        if processes != self._running.processes:
            with suppress(OSError):
                renewed = replace(self._running, processes=processes)
                announce(self._data_dir, renewed)
                self._running = renewed


def look_after(supervisor: Supervisor, servers: EmbeddedServers, announcement: Announcement) -> None:
    """Starts again whatever ends, until interrupted."""
    while True:
        for name in servers.revive(say):
            say(f"{name} was started again")
        supervisor.look_after()
        announcement.renew({**servers.processes, **supervisor.processes})
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
        started_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def banner(arguments: argparse.Namespace, data_dir: Path, urls: ServerUrls, seconds: float) -> str:
    """The addresses and files of the system, without secrets."""
    api = address_of(arguments.host, arguments.port)
    return f"""
Holdfast is ready after {seconds:.1f} s.

  pages      {api}/
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
    with suppress(OSError):  # nothing that happens to our output may end the system, such as a full disk
        print(f"holdfast: {message}", file=sys.stdout, flush=True)
