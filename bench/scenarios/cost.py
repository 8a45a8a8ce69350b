"""What a payment costs in processor time, by process: the one figure of speed that a busy machine hardly changes."""

from bench.arena import Arena
from bench.contestants import Contestant
from bench.drive import saturate
from bench.figures import Round
from bench.load import workload
from bench.load.workload import Workload
from bench.processes import processor_seconds, spent
from bench.scenarios.payments import MAIN_CONNECTIONS

UNIT = "µs of processor time a payment"


def run(arena: Arena) -> None:
    """Until the payment is in the ledger, without the generator; beside the row lock and the parsing alone."""
    drawn = workload.uniform(arena.options.accounts)
    contestants: list[Contestant] = [arena.holdfast, arena.rival("for_update"), arena.rival("parse_only")]
    for contestant in contestants:
        arena.warm_up(contestant, drawn)
    for number in range(arena.options.rounds):
        for contestant in contestants:
            one = _turn(arena, contestant, drawn)
            arena.figures.add("cost", contestant.title, MAIN_CONNECTIONS, one, UNIT)
            state = "INVALID" if one.problems else f"{one.rate:,.0f} µs"
            arena.say(f"cost, round {number + 1}: {contestant.title}: {state}")


def _turn(arena: Arena, contestant: Contestant, drawn: Workload) -> Round:
    contestant.prepare(drawn)
    run = arena.new_run()
    arena.system.quiesce()
    before = processor_seconds()
    source = contestant.payments(run, drawn)
    outcome = saturate(contestant.address, source, connections=MAIN_CONNECTIONS, seconds=arena.options.seconds)
    arena.system.quiesce()
    seconds = spent(before, processor_seconds())
    contestant.finish(run, drawn, outcome, arena.options.seconds)
    payments = max(1, len(outcome.acknowledged))
    if contestant is arena.holdfast:
        seconds.pop("baseline", None)  # whose processes idle meanwhile, but not quite
    else:
        seconds = {part: seconds.get(part, 0.0) for part in ("baseline", "postgres")}
    by_part = {f"{part}_us": 1e6 * taken / payments for part, taken in seconds.items() if part != "baseline"}
    total = 1e6 * sum(seconds.values()) / payments
    return Round(total, extra=by_part, problems=outcome.round.problems)
