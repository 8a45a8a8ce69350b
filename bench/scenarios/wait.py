"""The durable wait: the answer comes when the ledger has the payment, as it does with a row lock."""

from bench.arena import Arena
from bench.load import workload

CONNECTIONS = 64
WAIT_SECONDS = 10


def run(arena: Arena) -> None:
    """One hot account, `Prefer: wait`, against the row lock; an answer that is not `posted` voids the figure."""
    drawn = workload.hot_source(arena.options.accounts)
    rival = arena.rival("for_update")
    for contestant in (arena.holdfast, rival):
        arena.warm_up(contestant, drawn)
    for number in range(arena.options.rounds):
        for contestant in (arena.holdfast, rival):
            outcome = arena.turn(contestant, drawn, CONNECTIONS, Prefer=f"wait={WAIT_SECONDS}")
            good = outcome.statuses[200] + outcome.statuses[201]
            if outcome.posted_at_once < good:
                outcome.round.problems.append(f"{good - outcome.posted_at_once} answers were not `posted`")
            arena.figures.add("wait", contestant.title, CONNECTIONS, outcome.round)
            arena.say(f"wait, round {number + 1}: {contestant.title}: {outcome.round.rate:,.0f}/s")
