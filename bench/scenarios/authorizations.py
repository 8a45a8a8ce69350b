"""Authorizations, each captured at once: two requests a payment."""

from bench.arena import Arena
from bench.load import workload
from bench.scenarios.payments import MAIN_CONNECTIONS


def run(arena: Arena) -> None:
    """Closed loop, beside the row lock with a held amount; the rate counts captured payments."""
    contestants = [arena.holdfast, arena.rival("for_update")]
    drawn = workload.uniform(arena.options.accounts)
    arena.in_turn(
        "authorizations", contestants, drawn, MAIN_CONNECTIONS, asked="authorizations", unit="captured payments/s"
    )
