"""Replaying a file of bank movements as payments through the running system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain.accounts import DEFAULT_ENTITY, AccountType
from app.domain.bank_file import Movement, waves
from app.domain.errors import Fault
from app.domain.payment import OutboxPosition, PaymentRequest, stream_id_order
from app.domain.refusals import Refusal
from app.services.accounts.accounts import AccountRequest, Accounts
from app.services.payments.outcomes import Accepted
from app.services.payments.submit import Payments

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.history import History


CLEARING_ACCOUNT = "clearing:bank"
WINDOW = 2_000
"""How many movements are looked at together, to find those that may be sent at once."""

LOOK_S = 0.002
PATIENCE_S = 60.0
"""How long a wave may wait for the books before the replay gives up; it can be started again at any time."""

ACTOR = "replay"


class ReplayStopped(Fault):
    """The replay cannot go on; what was sent stays, and a second run continues."""


@dataclass(slots=True)
class ReplayReport:
    """What a replay did, in movements."""

    accepted: int = 0
    repeated: int = 0
    posted: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Replay:
    """Plays movements between the bank's clearing account and the customers' accounts."""

    def __init__(
        self,
        accounts: Accounts,
        payments: Payments,
        cache: Cache,
        ledger: History,
        *,
        currency_code: str,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._accounts = accounts
        self._payments = payments
        self._cache = cache
        self._ledger = ledger
        self._currency_code = currency_code
        self._monotonic = monotonic
        self._sleep = sleep

    def open_accounts(self, account_ids: Iterable[str], overdraft_limit_minor: int | None) -> None:
        """Make sure of the clearing account and the customers' accounts."""
        self._open(CLEARING_ACCOUNT, AccountType.ASSET, None)
        for account_id in account_ids:
            self._open(customer_account(account_id), AccountType.LIABILITY, overdraft_limit_minor)

    def _open(self, account_id: str, account_type: AccountType, overdraft_limit_minor: int | None) -> None:
        request = AccountRequest(
            account_id, DEFAULT_ENTITY, account_type, self._currency_code, None, overdraft_limit_minor, None
        )
        outcome = self._accounts.create(request, ACTOR)
        if isinstance(outcome, Refusal):
            raise ReplayStopped(outcome.detail)

    def run(self, movements: Sequence[Movement]) -> Iterator[tuple[int, ReplayReport]]:
        """Play the movements; after each wave yields how many it had, and the report so far."""
        report = ReplayReport()
        for wave in waves(movements, WINDOW):
            outcomes = self._submit(wave)
            outbox_positions = [outcome.outbox_position for outcome in outcomes if isinstance(outcome, Accepted)]
            self._await_ledger(outbox_positions)
            self._count(wave, outcomes, report)
            yield len(wave), report

    def _submit(self, wave: Sequence[Movement]) -> list[Accepted | Refusal]:
        """The debits first and by themselves: one on a cold account is decided late, and must not see the credits."""
        debits = [self._request(movement) for movement in wave if not movement.is_credit]
        credits = [self._request(movement) for movement in wave if movement.is_credit]
        return self._payments.submit(debits, ACTOR) + self._payments.submit(credits, ACTOR)

    def _request(self, movement: Movement) -> PaymentRequest:
        customer = customer_account(movement.account_id)
        source, destination = (CLEARING_ACCOUNT, customer) if movement.is_credit else (customer, CLEARING_ACCOUNT)
        return PaymentRequest(
            external_id=movement.transaction_id,
            source_account_id=source,
            destination_account_id=destination,
            amount_minor=movement.amount_minor,
            currency_code=self._currency_code,
            effective_at=movement.booked_at,
            metadata=dict(movement.remarks) or None,
        )

    def _await_ledger(self, outbox_positions: Sequence[OutboxPosition]) -> None:
        """Wait until the oldest intent in each outbox is younger than the last of these."""
        last: dict[int, str] = {}
        for outbox_position in outbox_positions:
            last[outbox_position.partition] = max(
                last.get(outbox_position.partition, "0-0"), outbox_position.stream_id, key=stream_id_order
            )
        give_up = self._monotonic() + PATIENCE_S
        for partition, stream_id in last.items():
            while self._is_waiting(partition, stream_id):
                if self._monotonic() > give_up:
                    raise ReplayStopped(
                        f"The books have not answered for {PATIENCE_S:.0f} s. Is a drain worker running? Start the "
                        "replay again later: it goes on where it stopped."
                    )
                self._sleep(LOOK_S)

    def _is_waiting(self, partition: int, stream_id: str) -> bool:
        oldest = self._cache.outbox.read(partition, limit=1)
        return bool(oldest) and stream_id_order(oldest[0].outbox_position.stream_id) <= stream_id_order(stream_id)

    def _count(self, wave: Sequence[Movement], outcomes: Sequence[Accepted | Refusal], report: ReplayReport) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Refusal):
                report.refused[outcome.code.value] += 1
            elif outcome.replayed:
                report.repeated += 1
            else:
                report.accepted += 1
        report.posted += self._ledger.count_posted(DEFAULT_ENTITY, [movement.transaction_id for movement in wave])


def customer_account(account_id: str) -> str:
    """The account of a customer of the bank."""
    return f"customer:{account_id}"
