"""Reading balances."""

from bench.arena import Arena
from bench.load import workload
from bench.scenarios.payments import MAIN_CONNECTIONS


def run(arena: Arena) -> None:
    """The balance of any account: with held and available for Holdfast, a row by its primary key for the baseline."""
    drawn = workload.uniform(arena.options.accounts)
    arena.in_turn("balance", [arena.holdfast, arena.rival("for_update")], drawn, MAIN_CONNECTIONS, asked="reads")
