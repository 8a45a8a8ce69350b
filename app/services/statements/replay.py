"""Replaying a file of bank movements: each becomes a payment through the running system.

Movements that may go together are sent in one wave. A movement is counted when the ledger has answered it, so a report
says what is in the ledger and not what was sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from app.domain.accounts import DEFAULT_ENTITY, AccountType
from app.domain.bank_file import Movement, customer_account, waves, without_reused
from app.domain.errors import Fault
from app.domain.payment import OutboxPosition, PaymentRequest, stream_id_order
from app.domain.refusals import Refusal, RefusalCode
from app.services.accounts.accounts import AccountRequest, Accounts
from app.services.payments.outcomes import Accepted
from app.services.payments.submit import Payments

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.history import History


CLEARING_ACCOUNT = "clearing:bank"
WINDOW = 2_000
"""How many movements are considered together, to find those that may be sent at once."""

POLL_S = 0.002
PATIENCE_S = 60.0
"""How long a wave may wait for the ledger before the replay gives up; it can be started again at any time."""

START_AGAIN = "Start the replay again later: it continues where it stopped."

ACTOR = "replay"


class ReplayStopped(Fault):
    """The replay cannot go on; what was sent stays, and a second run continues."""


LACK_OF_FUNDS = frozenset({RefusalCode.INSUFFICIENT_FUNDS})
"""Refusals that do not speak against the file: the movement is sound, but its account has too little."""

Outcome = Accepted | Refusal


@dataclass(slots=True)
class ReplayReport:
    """What became of the movements: each one is posted by this run, repeated, or refused.

    A repeated one was in the ledger already, from an earlier run or an earlier line of the file.
    """

    posted: int = 0
    repeated: int = 0
    refused: Counter[RefusalCode] = field(default_factory=Counter)
    in_ledger: set[str] = field(default_factory=set)
    """The transaction ids of the file that are in the ledger, no matter who posted them."""
    refused_for_content: list[tuple[int, Refusal]] = field(default_factory=list)
    """Movements refused for another reason than lack of funds, with their lines: somebody has to look at them."""

    @property
    def movements(self) -> int:
        """How many movements there were so far."""
        return self.posted + self.repeated + self.refused.total()

    def count(self, movement: Movement, outcome: Outcome) -> None:
        """Count a movement by what the ledger has answered."""
        if isinstance(outcome, Refusal):
            self.refused[outcome.code] += 1
            if outcome.code not in LACK_OF_FUNDS:
                self.refused_for_content.append((movement.line, outcome))
            return
        self.in_ledger.add(movement.transaction_id)
        if outcome.replayed:
            self.repeated += 1
        else:
            self.posted += 1


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
        """Make sure that the clearing account and the customers' accounts exist."""
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
        to_send, reused = without_reused(movements)
        for movement, refusal in reused:
            report.count(movement, refusal)
        yield len(reused), report
        for wave in waves(to_send, WINDOW):
            outcomes = self._submit(wave)
            self._await_ledger([outcome.outbox_position for outcome in outcomes if isinstance(outcome, Accepted)])
            for movement, outcome in zip(wave, self._confirmed(outcomes), strict=True):
                report.count(movement, outcome)
            yield len(wave), report

    def _submit(self, wave: Sequence[Movement]) -> list[Outcome]:
        """Submit the debits first: one on a cold account is decided late, and must not see the credits of its wave."""
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
                        f"The ledger has not answered for {PATIENCE_S:.0f} s. Is a drain worker running? {START_AGAIN}"
                    )
                self._sleep(POLL_S)

    def _is_waiting(self, partition: int, stream_id: str) -> bool:
        oldest = self._cache.outbox.read(partition, limit=1)
        return bool(oldest) and stream_id_order(oldest[0].outbox_position.stream_id) <= stream_id_order(stream_id)

    def _confirmed(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes as the ledger has them, which may reject what was accepted, or know it already."""
        if any(isinstance(outcome, Refusal) and outcome.code is RefusalCode.LEDGER_BACKLOGGED for outcome in outcomes):
            raise ReplayStopped("More payments wait for the ledger than the configured limit. " + START_AGAIN)
        accepted = [outcome.payment_id for outcome in outcomes if isinstance(outcome, Accepted)]
        posted = self._ledger.posted_among(accepted)
        return [
            outcome if isinstance(outcome, Refusal) or outcome.payment_id in posted else self._answer(outcome)
            for outcome in outcomes
        ]

    def _answer(self, accepted: Accepted) -> Outcome:
        """What the ledger has made of an accepted payment that is not posted under its own id."""
        outcome = self._payments.look_up(accepted)
        return replace(outcome, replayed=True) if isinstance(outcome, Accepted) else outcome
