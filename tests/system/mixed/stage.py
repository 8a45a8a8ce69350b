"""Where outages are provoked: the system, its disks and its queues' server, and what is noted of each outage."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg

from app.embedded.valkey import CacheServer as Valkey
from tests.system.harness import System
from tests.system.mixed.disk import Disk
from tests.system.mixed.watch import Look, ReadinessWatch

RED_WITHIN_S = 20.0
"""How soon a lasting outage must be told. It takes a few seconds; the machine may be busy with other work."""

GREEN_WITHIN_S = 180.0
"""How soon everything must be in order after an outage, by itself."""

LASTS_S = (4.0, 12.0)
"""How long an outage goes on after it was told."""


@dataclass(slots=True)
class Outage:
    """What happened in one outage. Seconds count from its beginning, `green_s` from its end."""

    name: str
    what: str = ""
    began_at: float = 0.0
    ended_at: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    red_s: float | None = None
    told: str = ""
    green_s: float | None = None

    def line(self) -> str:
        """For the report."""
        red = f"red after {self.red_s:.1f} s ({self.told})" if self.red_s is not None else "not red"
        green = "never green" if self.green_s is None else f"green {self.green_s:.1f} s after its end"
        moment = time.strftime("%H:%M:%S", time.gmtime(self.began_at))
        return f"{self.name:4} {moment} {self.ended - self.began:5.1f} s  {red}; {green}  {self.what}"


@dataclass(slots=True)
class Loss:
    """Between when (seconds since 1970) a replaced cache may have lost what it had acknowledged.

    `is_named_by_id` says whether the processes of the API lived through it, so that each loss is named.
    """

    outage: str
    began_at: float
    ended_at: float
    is_named_by_id: bool


@dataclass
class Stage:
    """Everything that an outage needs."""

    system: System
    queue: Valkey
    watch: ReadinessWatch
    chance: random.Random
    data_disk: Disk | None = None
    ledger_disk: Disk | None = None
    findings: list[str] = field(default_factory=list)
    """What should not have been; the run goes on and fails at its end."""
    outages: list[Outage] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    say: Callable[[str], None] = print

    def find(self, finding: str) -> None:
        """Note what should not have been."""
        self.findings.append(f"{time.strftime('%H:%M:%S')} {finding}")
        self.say(f"FINDING {finding}")

    @contextmanager
    def outage(self, name: str, what: str) -> Iterator[Outage]:
        """From the beginning of an outage to its end; then everything must become green by itself."""
        one = Outage(name, what, time.time(), began=time.monotonic())
        self.outages.append(one)
        self.say(f"{name}: {what}")
        yield one
        one.ended, one.ended_at = time.monotonic(), time.time()
        green = self.watch.seen(lambda look: look.is_green, one.ended, GREEN_WITHIN_S)
        if green is None:
            self.find(f"{name}: not ready {GREEN_WITHIN_S:.0f} s after its end: {self.watch.looks[-1]}")
        else:
            one.green_s = green.ended - one.ended
        self.say(one.line())

    def red(self, one: Outage, *checks: str, status: str = "not_ready", within_s: float = RED_WITHIN_S) -> None:
        """Readiness must tell the outage by one of these checks, in time."""

        def tells(look: Look) -> bool:
            return look.status == status and any(check in look.failing for check in checks)

        look = self.watch.seen(tells, one.began, within_s)
        if look is None:
            seen = {(one.status, *one.failing) for one in self.watch.looks[-50:]}
            self.find(f"{one.name} ({one.what}): no {status} by {checks} within {within_s:.0f} s, but {seen}")
            return
        one.red_s = look.ended - one.began
        one.told = next(f"{check}: {look.failing[check][:60]}" for check in checks if check in look.failing)

    def last(self) -> None:
        """Let an outage go on for a while."""
        time.sleep(self.chance.uniform(*LASTS_S))

    # The system's parts

    @property
    def up(self) -> psutil.Process:
        """The supervisor."""
        assert self.system.process is not None
        return psutil.Process(self.system.process.pid)

    def one_process(self, part: str, within_s: float = 60.0) -> psutil.Process:
        """The child of the supervisor whose command line has this in it; it may be due to start."""
        self.wait(lambda: bool(self.system.named(part)), within_s, f"a process {part}")
        return self.system.named(part)[0]

    @contextmanager
    def without_supervisor(self) -> Iterator[None]:
        """While nobody starts again what ends."""
        self.up.suspend()
        try:
            yield
        finally:
            self.up.resume()

    @contextmanager
    def suspended(self, part: str) -> Iterator[None]:
        """While these processes stand still."""
        processes = self.system.named(part)
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the ledger, also while it is told to be read-only."""
        options = "-c default_transaction_read_only=off -c lock_timeout=2000"
        with psycopg.connect(self.system.running.owner_database_url, autocommit=True, options=options) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def wait(self, condition: Callable[[], bool], within_s: float, what: str) -> bool:
        """Wait until it is so; a finding if it takes too long."""
        ends = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > ends:
                self.find(f"{what}: not within {within_s:.0f} s")
                return False
            time.sleep(0.1)
        return True

    def cache_data(self) -> Any:
        """Where the cache keeps its data."""
        return self.system.data_dir / "cache"
