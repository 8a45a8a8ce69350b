"""Waiting until nothing that touches an account is on its way to the books."""

from collections.abc import Callable, Sequence
from typing import Protocol

from app.domain.posting import QueuedIntent

QUIET_PATIENCE_S = 5.0
"""How long a change waits for payments on their way to the books: they take milliseconds while a worker runs."""

QUIET_LOOK_S = 0.01
INTENTS_AT_ONCE = 1_000


class Outboxes(Protocol):
    """The cache, for what is on its way."""

    partitions: int

    def outbox(self, partition: int, after: str = "0", limit: int = 1_000) -> Sequence[QueuedIntent]: ...


class Quiet:
    """Looks through all outboxes for what touches an account."""

    def __init__(self, funds: Outboxes, *, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._funds = funds
        self._monotonic = monotonic
        self._sleep = sleep

    def wait(self, account_id: str) -> bool:
        """Wait until no intent in any outbox touches the account; returns whether that was so in time."""
        give_up = self._monotonic() + QUIET_PATIENCE_S
        while self.count_pending(account_id):
            if self._monotonic() >= give_up:
                return False
            self._sleep(QUIET_LOOK_S)
        return True

    def count_pending(self, account_id: str) -> int:
        """How many intents on their way to the books touch the account."""
        return sum(self._count_in(partition, account_id) for partition in range(self._funds.partitions))

    def _count_in(self, partition: int, account_id: str) -> int:
        count, after = 0, "0"
        while page := self._funds.outbox(partition, after, INTENTS_AT_ONCE):
            for queued in page:
                intent = queued.intent
                touched = {intent.guarded_account_id, *(leg.account_id for leg in intent.legs)}
                count += account_id in touched
            after = page[-1].place.position
        return count
