"""`monitors`: make balance monitors, list and show them, and end them."""

import argparse
import sys
from collections.abc import Iterator

from app.commands.connection import ACTOR, connected
from app.domain.monitors import Comparison, Measure, Monitor, NewMonitor
from app.domain.timestamps import rfc3339
from app.services.events.monitors import Monitors
from app.wiring.events import build_monitors
from app.wiring.services import build_engine

PAGE = 500


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    with connected(arguments.data_dir) as settings:
        engine = build_engine(settings, "monitors")
        try:
            return ACTIONS[arguments.action](arguments, build_monitors(engine))
        finally:
            engine.dispose()


def _create(arguments: argparse.Namespace, monitors: Monitors) -> int:
    measure, comparison = Measure(arguments.measure), Comparison(arguments.comparison)
    new = NewMonitor(arguments.account_id, measure, comparison, arguments.threshold_minor, arguments.name)
    made = monitors.create(new, ACTOR)
    if made is None:
        print(f"There is no account {arguments.account_id!r}.", file=sys.stderr)
        return 1
    print(made.monitor_id)
    return 0


def _list(arguments: argparse.Namespace, monitors: Monitors) -> int:
    for one in _all(monitors, arguments.account):
        print(_line(one))
    return 0


def _all(monitors: Monitors, account_id: str | None) -> Iterator[Monitor]:
    after = None
    while found := monitors.ledger.page(limit=PAGE, after=after, account_id=account_id):
        yield from found
        after = found[-1].monitor_id


def _show(arguments: argparse.Namespace, monitors: Monitors) -> int:
    found = monitors.ledger.get(arguments.monitor_id)
    if found is None:
        return _missing(arguments)
    print(_line(found))
    return 0


def _end(arguments: argparse.Namespace, monitors: Monitors) -> int:
    if monitors.end(arguments.monitor_id, ACTOR, None) is None:
        return _missing(arguments)
    print(f"Monitor {arguments.monitor_id} has ended.")
    return 0


def _line(one: Monitor) -> str:
    condition = one.condition
    wanted = f"{condition.measure.value} {condition.comparison.value} {condition.threshold_minor}"
    state = "holds" if one.is_met else "does not hold"
    if one.ended_at is not None:
        state = f"ended {rfc3339(one.ended_at)}"
    columns = [one.monitor_id, rfc3339(one.created_at), condition.account_id, wanted, state]
    return "  ".join([*columns, *([condition.name] if condition.name else [])])


def _missing(arguments: argparse.Namespace) -> int:
    print(f"There is no monitor {arguments.monitor_id!r}.", file=sys.stderr)
    return 1


ACTIONS = {"create": _create, "list": _list, "show": _show, "end": _end}
