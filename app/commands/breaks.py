"""`breaks`: list differences, read one, work on it, see what a repair would change and ask for it, and the ageing.

The same as on the pages and over the API, for a terminal and for cron.
"""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from app.commands.connection import ACTOR, connected
from app.domain.break_workflow import BreakChange, BreakFilter, BreakRecord, BreakState
from app.domain.found_breaks import BreakSource
from app.domain.money import as_money
from app.domain.proof_history import ProofRun
from app.domain.proof_requests import RepairPreview
from app.domain.refusals import Refusal
from app.domain.reservations import Funds
from app.domain.timestamps import parse_time, rfc3339
from app.domain.wording import counted, span
from app.ledger.proof_history import LedgerProofHistory
from app.services.proofs.breaks import Breaks
from app.services.proofs.proof_requests import ProofRequests
from app.settings import Settings
from app.wakeup import WakeUps
from app.wiring.cache import build_cache
from app.wiring.proofs import build_breaks, build_proof_requests
from app.wiring.services import build_assets, build_engine

DONE, LOOK, REFUSED = 0, 1, 2
MOST = 1_000
UNSETTLED = (BreakState.OPEN, BreakState.INVESTIGATING)
NOBODY = "nobody"

Money = Callable[[int | None, str | None], str]


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    with connected(arguments.data_dir) as settings:
        return ACTIONS[arguments.action](arguments, settings)


def _breaks(settings: Settings) -> Breaks:
    return build_breaks(build_engine(settings, "breaks"))


def _requests(settings: Settings) -> ProofRequests:
    return build_proof_requests(
        build_engine(settings, "breaks"), build_cache(settings, "breaks"), WakeUps(settings.queue_url).reconcile
    )


def _money(settings: Settings) -> Money:
    assets = build_assets(build_engine(settings, "breaks"))

    @cache
    def minor_units(code: str) -> int:
        asset = assets.get(code)
        return 2 if asset is None else asset.minor_units

    def money(amount_minor: int | None, code: str | None) -> str:
        if amount_minor is None:
            return "-"
        return f"{amount_minor} minor" if code is None else f"{as_money(amount_minor, minor_units(code))} {code}"

    return money


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    now = datetime.now(UTC)
    wanted = BreakFilter(
        source=None if arguments.source is None else BreakSource(arguments.source),
        states=None if arguments.all else UNSETTLED,
        account_id=arguments.account,
        overdue_at=now if arguments.overdue else None,
    )
    found, number = _breaks(settings).due_first(wanted, limit=MOST)
    money = _money(settings)
    for one in found:
        print(_line(one, money, now))
    if number > len(found):
        print(f"and {number - len(found):,} more")
    if not found:
        print("No break is listed." if arguments.overdue or arguments.account else "No break is open.")
    return LOOK if any(one.is_overdue(now) for one in found) else DONE


def _line(one: BreakRecord, money: Money, now: datetime) -> str:
    due = "" if one.due_at is None or one.state.is_settled else f"  due {rfc3339(one.due_at)}"
    late = "  OVERDUE" if one.is_overdue(now) else ""
    difference = f"  {money(one.difference_minor, one.currency_code)}" if one.difference_minor is not None else ""
    facts = f"{one.source}  {one.kind}  {one.subject}{difference}"
    return f"{one.break_id}  {one.state}  {facts}  {one.owner or NOBODY}  {one.reason_code or '-'}{due}{late}"


def _show(arguments: argparse.Namespace, settings: Settings) -> int:
    found = _breaks(settings).get(arguments.break_id)
    if found is None:
        return _refuse(f"There is no break {arguments.break_id}.")
    one, money = found.record, _money(settings)
    print(_line(one, money, datetime.now(UTC)))
    print(f"  ledger {money(one.ledger_minor, one.currency_code)}, other {money(one.other_minor, one.currency_code)}")
    for name, value in one.figures.items():
        print(f"  {name}: {value}")
    for link in one.evidence:
        print(f"  evidence: {link.kind} {link.id}")
    for event in found.events:
        changed = f"{event.state}, {event.owner or NOBODY}, {event.reason_code or '-'}"
        print(f"  {rfc3339(event.recorded_at)}  {event.actor}  {event.action or '-'}  {changed}  {event.note}".rstrip())
    return DONE


def _change(arguments: argparse.Namespace, settings: Settings) -> int:
    fields: dict[str, Any] = {}
    if arguments.state is not None:
        fields["state"] = BreakState(arguments.state)
    if arguments.owner is not None:
        fields["owner"] = None if arguments.owner == NOBODY else arguments.owner
    if arguments.reason is not None:
        fields["reason_code"] = arguments.reason
    if arguments.due is not None:
        try:
            fields["due_at"] = parse_time(arguments.due)
        except ValueError as error:
            return _refuse(f"--due {error}.")
    if not fields and not arguments.comment:
        return _refuse("Name what is to change: --state, --owner, --reason, --due or --comment.")
    outcome = _breaks(settings).change(arguments.break_id, BreakChange(fields, arguments.comment or ""), ACTOR)
    if isinstance(outcome, Refusal):
        return _refuse(outcome.detail)
    print(_line(outcome.record, _money(settings), datetime.now(UTC)))
    return DONE


def _ageing(_: argparse.Namespace, settings: Settings) -> int:
    money = _money(settings)
    lines = _breaks(settings).ageing(datetime.now(UTC))
    print("account  currency  under 1 day  1 to 3  3 to 7  over 7 days  overdue  without owner  sum")
    for line in lines:
        about = f"{line.account_id or line.source}  {line.currency_code or '-'}"
        counts = "  ".join(str(count) for count in line.counts)
        total = money(line.sum_minor, line.currency_code)
        print(f"{about}  {counts}  {line.overdue}  {line.nobodys}  {total}")
    return LOOK if any(line.overdue for line in lines) else DONE


def _runs(arguments: argparse.Namespace, settings: Settings) -> int:
    now = datetime.now(UTC)
    for one in LedgerProofHistory(build_engine(settings, "breaks")).runs(limit=arguments.limit):
        state = (
            f"{span(one.seconds)}, {counted(one.break_count, 'break')}"
            if one.seconds is not None
            else _under_way(one, now)
        )
        checked = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in sorted(one.checked.items()))
        asked_by = one.asked_by or "due"
        print(f"{one.run_id}  {one.mode}  {rfc3339(one.started_at)}  {asked_by}  {state}  {checked}".rstrip())
    return DONE


def _under_way(one: ProofRun, now: datetime) -> str:
    if one.is_broken_off(now):
        return "broken off"
    return "under way" if one.percent is None else f"under way, {one.percent} %"


def _repair(arguments: argparse.Namespace, settings: Settings) -> int:
    requests = _requests(settings)
    if arguments.reason is None:
        preview = requests.preview(arguments.break_id)
        if isinstance(preview, Refusal):
            return _refuse(preview.detail)
        _tell(preview, _money(settings))
        return DONE
    if arguments.token is None:
        return _refuse("Look first: `breaks repair BREAK` shows what would change, and the --token of it.")
    outcome = requests.ask_repair(arguments.break_id, arguments.reason, arguments.token, ACTOR)
    if isinstance(outcome, Refusal):
        print(outcome.detail, file=sys.stderr)
        return LOOK
    print(f"Request {outcome.request_id} waits for the maintenance worker; `breaks show` tells what comes of it.")
    return DONE


def _tell(preview: RepairPreview, money: Money) -> None:
    print(f"{preview.account_id}, at entry {preview.at_entry}")
    for what, funds in (("now", preview.now), ("then", preview.then)):
        print(f"  {what}: {_funds(funds, preview.currency_code, money)}")
    for payment_id, amount in preview.freed.items():
        print(f"  nothing explains the hold of {payment_id}, {money(amount, preview.currency_code)}: it goes")
    if preview.in_doubt:
        print("The ledger itself has an open break. Nothing is repaired until that is settled.")
    else:
        print(f"Nothing is changed yet. To ask for it: --reason TEXT --token {preview.token}")


def _funds(funds: Funds | None, code: str | None, money: Money) -> str:
    if funds is None:
        return "not there"
    parts = {"balance": funds.balance_minor, "held": funds.held_minor, "floor": funds.floor_minor}
    parts["available"] = funds.available_minor
    return ", ".join(f"{name} {money(amount, code)}" for name, amount in parts.items())


def _refuse(detail: str) -> int:
    print(detail, file=sys.stderr)
    return REFUSED


ACTIONS = {"list": _list, "show": _show, "change": _change, "ageing": _ageing, "runs": _runs, "repair": _repair}
