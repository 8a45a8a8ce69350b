"""Holdfast's own verbs, called in this process: for what is measured without HTTP."""

from app.domain.payment import PaymentRequest
from app.services.payments.outcomes import Accepted
from app.services.payments.submit import Payments
from app.wiring.api import build_api
from bench.load.requests import CURRENCY, external_id
from bench.load.workload import Workload, account_id
from bench.system import System

ACTOR = "bench"
AT_ONCE = 500


class Inside:
    """The services of the API, over the same servers."""

    def __init__(self, system: System) -> None:
        self.services = build_api(system.settings)  # not started: nobody waits here

    @property
    def payments(self) -> Payments:
        """The verb that reserves."""
        return self.services.payments

    def submit(self, run: str, workload: Workload, count: int, *, at_once: int = AT_ONCE) -> list[tuple[int, int]]:
        """Reserves `count` payments; returns the acknowledged ones as (worker, number)."""
        acknowledged = []
        for start in range(0, count, at_once):
            numbers = range(start, min(count, start + at_once))
            outcomes = self.payments.submit([request(run, workload, number) for number in numbers], ACTOR)
            for number, outcome in zip(numbers, outcomes, strict=True):
                assert isinstance(outcome, Accepted), outcome
                acknowledged.append((0, number))
        return acknowledged


def request(run: str, workload: Workload, number: int) -> PaymentRequest:
    """The payment with this number."""
    movement = workload.movement(0, number)
    return PaymentRequest(
        external_id=external_id(run, 0, number),
        source_account_id=account_id(movement.source),
        destination_account_id=account_id(movement.destination),
        amount_minor=movement.amount_minor,
        currency_code=CURRENCY,
    )
