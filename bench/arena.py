"""The arena: what every scenario is given, and how contestants take turns in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from bench.contestants import Contestant, Holdfast, Rival
from bench.drive import Outcome, saturate
from bench.figures import REQUESTS, Figures
from bench.load.requests import Source
from bench.load.workload import Workload
from bench.rivals import RivalServer
from bench.system import System

WARM_UP_SECONDS = 3.0

Asked = Literal["payments", "authorizations", "reads"]
"""What the clients of a run ask for."""


@dataclass(frozen=True)
class Options:
    """How long, how often, how wide."""

    seconds: float = 3.0
    rounds: int = 3
    connections: tuple[int, ...] = (1, 16, 64, 256)
    accounts: int = 1_000
    growth_accounts: int = 1_000_000
    growth_entries: int = 10_000_000
    sustained_seconds: float = 20.0
    payments: int = 40_000
    """How many payments the drain is measured with; the script and the memory take a part of them."""
    tigerbeetle: Path | None = None


@dataclass
class Arena:
    """Running contestants, and the figures so far."""

    options: Options
    system: System
    server: RivalServer
    scratch: Path
    figures: Figures = field(default_factory=Figures)
    _runs: int = 0
    _warm: set[tuple[str, Asked]] = field(default_factory=set)

    @cached_property
    def holdfast(self) -> Holdfast:
        """The product."""
        return Holdfast(self.system)

    def rival(self, name: str) -> Rival:
        """A baseline."""
        return Rival(self.server, name)

    def new_run(self) -> str:
        """A name for a run, part of its payments' external ids."""
        self._runs += 1
        return f"run{self._runs:04d}"

    def say(self, text: str) -> None:
        """Progress."""
        print(f"bench: {text}", flush=True)

    def in_turn(
        self,
        scenario: str,
        contestants: Sequence[Contestant],
        workload: Workload,
        connections: int,
        *,
        asked: Asked = "payments",
        unit: str = REQUESTS,
    ) -> None:
        """A B A B …: each contestant once a round, so that a disturbance of the machine affects all alike."""
        for contestant in contestants:
            self.warm_up(contestant, workload, asked)
        for number in range(self.options.rounds):
            for contestant in contestants:
                outcome = self.turn(contestant, workload, connections, asked)
                self.figures.add(scenario, contestant.title, connections, outcome.round, unit)
                state = "INVALID" if outcome.round.problems else f"{outcome.round.rate:,.0f}/s"
                self.say(f"{scenario}, {connections} connections, round {number + 1}: {contestant.title}: {state}")

    def turn(
        self, contestant: Contestant, workload: Workload, connections: int, asked: Asked = "payments", **headers: str
    ) -> Outcome:
        """One run and its audit."""
        contestant.prepare(workload)
        run, seconds = self.new_run(), self.options.seconds
        source = _source(contestant, run, workload, asked, headers)
        outcome = saturate(contestant.address, source, connections=connections, seconds=seconds)
        if asked == "reads":
            outcome.acknowledged.clear()
        else:
            contestant.finish(run, workload, outcome, seconds)
        if not outcome.round.rate:
            outcome.round.problems.append(f"no request succeeded: {dict(outcome.statuses)} {outcome.first_refusal!r}")
        return outcome

    def warm_up(self, contestant: Contestant, workload: Workload, asked: Asked = "payments") -> None:
        """Once each: imports, connections, prepared statements and cold accounts are not what is measured."""
        if (contestant.title, asked) in self._warm:
            return
        self._warm.add((contestant.title, asked))
        contestant.prepare(workload)
        run = self.new_run()
        source = _source(contestant, run, workload, asked, {})
        outcome = saturate(contestant.address, source, connections=16, seconds=WARM_UP_SECONDS)
        if asked != "reads":
            contestant.finish(run, workload, outcome, WARM_UP_SECONDS)


def _source(contestant: Contestant, run: str, workload: Workload, asked: Asked, headers: dict[str, str]) -> Source:
    match asked:
        case "payments":
            return contestant.payments(run, workload, **headers)
        case "authorizations":
            return contestant.authorizations(run, workload)
        case "reads":
            return contestant.reads(workload)
