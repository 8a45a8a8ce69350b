"""Waiting until nothing that touches an account is on its way to the books."""

from collections.abc import Callable
from typing import Protocol

from app.services import waiting_intents

QUIET_PATIENCE_S = 5.0
"""How long a change waits for payments on their way to the books: they take milliseconds while a worker runs."""

QUIET_LOOK_S = 0.01


class Outboxes(waiting_intents.Outboxes, Protocol):
    """The cache, for what is on its way in all partitions."""

    partitions: int


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
        return sum(
            account_id in {queued.intent.guarded_account_id, *(leg.account_id for leg in queued.intent.legs)}
            for page in waiting_intents.pages(self._funds, partition)
            for queued in page
        )
