"""Authorize, then capture: two requests a payment."""

from bench.arena import Arena
from bench.drive import saturate
from bench.load import workload
from bench.load.requests import HoldSource, external_id
from bench.load.workload import account_id
from bench.scenarios.payments import MAIN_CONNECTIONS
from bench.system import Client


def run(arena: Arena) -> None:
    """Closed loop; the rate counts captured payments. Not available in a version without authorizations."""
    reason = _unavailable(arena)
    if reason:
        arena.figures.unavailable["holds"] = reason
        arena.say(f"holds: {reason}")
        return
    drawn = workload.uniform(arena.options.accounts)
    for number in range(arena.options.rounds):
        name, seconds = arena.new_run(), arena.options.seconds
        source = HoldSource("/v1/payments", arena.system.headers, name, drawn)
        outcome = saturate(arena.system.address, source, connections=MAIN_CONNECTIONS, seconds=seconds)
        arena.holdfast.finish(name, drawn, outcome, seconds)
        arena.figures.add("holds", arena.holdfast.title, MAIN_CONNECTIONS, outcome.round, "captured payments/s")
        arena.say(f"holds, round {number + 1}: {outcome.round.rate:,.0f}/s")


def _unavailable(arena: Arena) -> str:
    document = {
        "external_id": external_id("probe-holds", 0, 0),
        "source_account_id": account_id(1),
        "destination_account_id": account_id(2),
        "amount_minor": 1,
        "currency_code": "EUR",
        "capture": "manual",
    }
    with Client(arena.system) as client:
        status, answer = client.call("POST", "/v1/payments", document)
        if status not in (200, 201):
            return f"not available in this version (capture: manual answers {status})"
        status, _ = client.call("POST", f"/v1/payments/{answer['payment_id']}/capture", {})
    arena.system.quiesce()
    arena.system.auditor.open()
    return "" if status in (200, 201) else f"not available in this version (capture answers {status})"
