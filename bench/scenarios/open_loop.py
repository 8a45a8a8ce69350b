"""Latency at a third of saturation, open loop, and the time from an acknowledgement until the ledger has it.

The second is measured where a client would learn of it: a subscriber notes when each settled notice arrives, and the
time runs from the moment at which the client got its 201. The ledger's own stamps are reported beside it.
"""

import subprocess
import sys
from dataclasses import dataclass

from bench.arena import Arena
from bench.contestants import Contestant, Holdfast
from bench.drive import Outcome, at_rate, saturate
from bench.load import workload
from bench.load.histogram import Histogram
from bench.load.requests import parsed_external_id
from bench.load.workload import Workload
from bench.scenarios.payments import MAIN_CONNECTIONS
from bench.system import System

SHARE = 1 / 3
CONNECTIONS = 64
"""Enough that a request due now finds a free connection; those in use at once are few."""


def run(arena: Arena) -> None:
    """Holdfast and the row lock, each at a third of its own saturation in this run."""
    drawn = workload.uniform(arena.options.accounts)
    contestants: list[Contestant] = [arena.holdfast, arena.rival("for_update")]
    rates = {one.title: SHARE * _saturation(arena, one, drawn) for one in contestants}
    for number in range(arena.options.rounds):
        for contestant in contestants:
            outcome = _turn(arena, contestant, drawn, rates[contestant.title])
            arena.figures.add("open_loop", contestant.title, CONNECTIONS, outcome.round)
            median, tail = (outcome.round.histogram.percentile(q) for q in (50, 99))
            arena.say(f"open_loop, round {number + 1}: {contestant.title}: p50 {median} ms, p99 {tail} ms")


def _saturation(arena: Arena, contestant: Contestant, drawn: Workload) -> float:
    found = arena.figures.rate("uniform", contestant.title, MAIN_CONNECTIONS)
    if found is not None:
        return found
    arena.warm_up(contestant, drawn)
    contestant.prepare(drawn)
    name = arena.new_run()
    outcome = saturate(
        contestant.address,
        contestant.payments(name, drawn),
        connections=MAIN_CONNECTIONS,
        seconds=arena.options.seconds,
    )
    contestant.finish(name, drawn, outcome, arena.options.seconds)
    return max(outcome.round.rate, 1.0)


def _turn(arena: Arena, contestant: Contestant, drawn: Workload, rate: float) -> Outcome:
    contestant.prepare(drawn)
    name, seconds = arena.new_run(), max(arena.options.seconds, 1.0)
    source = contestant.payments(name, drawn)
    listener = NoticeListener(arena.system) if isinstance(contestant, Holdfast) else None
    outcome = at_rate(contestant.address, source, connections=CONNECTIONS, seconds=seconds, rate=rate)
    contestant.finish(name, drawn, outcome, seconds)
    if listener is not None:
        add_posting_times(arena.system, name, outcome, listener.stop())
    return outcome


class NoticeListener:
    """A process that listens for settled notices and stamps them: `monotonic seconds, partition, up_to`."""

    def __init__(self, system: System) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.load.notice_listener", system.urls.redis_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        self._child.stdout.readline()  # it has subscribed

    def stop(self) -> list["ReceivedNotice"]:
        """The notices that it received."""
        output, _ = self._child.communicate("", timeout=30)
        return [ReceivedNotice.of(line) for line in output.splitlines()]


@dataclass(frozen=True)
class ReceivedNotice:
    """A partition is durable up to a stream id, or single intents are."""

    moment: float
    partition: int
    up_to: tuple[int, int]
    done: frozenset[tuple[int, int]]

    @classmethod
    def of(cls, line: str) -> "ReceivedNotice":
        """From the listener's output."""
        moment, partition, up_to, done = line.split(" ")
        done_ids = frozenset(_stream_id(one) for one in done.split(",") if one != "-")
        return cls(float(moment), int(partition), _stream_id(up_to) if up_to != "-" else (0, 0), done_ids)


def _stream_id(text: str) -> tuple[int, int]:
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence)


def add_posting_times(system: System, run: str, outcome: Outcome, notices_received: list[ReceivedNotice]) -> None:
    """Seconds from each 201 to its notice; and from accepted_at to posted_at as the ledger stamps them."""
    rows = system.database.execute(
        """SELECT external_id, payment_id, extract(epoch FROM posted_at - accepted_at)::float
        FROM ledger_transaction WHERE external_id >= %s AND external_id < %s""",
        (f"{run}-", f"{run}."),
    ).fetchall()
    by_partition: dict[int, list[ReceivedNotice]] = {}
    for notice in notices_received:
        by_partition.setdefault(notice.partition, []).append(notice)
    delays, without_notice = [], 0
    for text, payment_id, _ in rows:
        received = outcome.received_at.get(parsed_external_id(text))
        if received is None:
            continue
        _, partition, milliseconds, sequence = payment_id.split("_")
        stream_id = int(milliseconds), int(sequence)
        notices = by_partition.get(int(partition), [])
        moment = next((one.moment for one in notices if one.up_to >= stream_id or stream_id in one.done), None)
        if moment is None:
            without_notice += 1
        else:
            delays.append(max(0.0, moment - received))
    posting, stamps = Histogram.of_seconds(delays), Histogram.of_seconds(max(0.0, row[2]) for row in rows)
    for percent in (50, 99):
        for name, histogram in (("posted_ms", posting), ("stamped_ms", stamps)):
            value = histogram.percentile(percent)
            if value is not None:
                outcome.round.extra[f"{name}_p{percent}"] = value
    if without_notice:
        outcome.round.notes.append(f"{without_notice} payments posted without a notice")
