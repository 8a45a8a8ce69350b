"""Single payments, closed loop: how many a second, against every baseline."""

from bench.arena import Arena
from bench.load import workload
from bench.load.workload import Workload

MAIN_CONNECTIONS = 16
"""At this many all baselines run; at the others only the row lock, the usual choice."""


def uniform(arena: Arena) -> None:
    """Every account as likely as any other, at all numbers of connections."""
    drawn = workload.uniform(arena.options.accounts)
    all_rivals = ["for_update", "serializable", "optimistic", "race", "parse_only"]
    all_rivals += ["tigerbeetle"] if arena.options.tigerbeetle else []
    for connections in arena.options.connections:
        _against(
            arena, "uniform", drawn, connections, all_rivals if connections == MAIN_CONNECTIONS else ["for_update"]
        )


def zipf(arena: Arena) -> None:
    """A few busy accounts, many quiet ones."""
    _against(arena, "zipf", workload.zipf(arena.options.accounts), MAIN_CONNECTIONS, ["for_update"])


def hot_source(arena: Arena) -> None:
    """One account pays everybody."""
    rivals = ["for_update", "serializable", "optimistic", "race"]
    _against(arena, "hot_source", workload.hot_source(arena.options.accounts), MAIN_CONNECTIONS, rivals)


def hot_merchant(arena: Arena) -> None:
    """Everybody pays one account."""
    _against(arena, "hot_merchant", workload.hot_merchant(arena.options.accounts), MAIN_CONNECTIONS, ["for_update"])


def _against(arena: Arena, scenario: str, drawn: Workload, connections: int, rivals: list[str]) -> None:
    arena.in_turn(scenario, [arena.holdfast, *(arena.rival(name) for name in rivals)], drawn, connections)
