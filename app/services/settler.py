"""Settling what has been posted, one round after the other, and the last one beside the next round's posting."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from app.domain.settlement import PartitionSettlement
from app.services.ports.funds import DrainFunds


class Settler:
    """Settles rounds in order. At most one is on its way; none begins before the one before has succeeded."""

    def __init__(self, funds: DrainFunds) -> None:
        self._funds = funds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="settle")
        self._on_its_way: Future[None] | None = None
        self._posted_up_to: dict[int, str] = {}

    @property
    def posted_up_to(self) -> Mapping[int, str]:
        """Where the outboxes must be read from, by partition: all before is in the books, though not trimmed."""
        return self._posted_up_to

    def settle(self, settlements: Sequence[PartitionSettlement], *, beside: bool) -> None:
        """Settle a round; `beside` says that the caller goes on meanwhile, which needs it to be trimmed by position.

        Raises what became of the round before, and then leaves this one to whoever reads the outbox next.
        """
        self.finish()
        if not beside:
            self._funds.settle_all(settlements)
            return
        self._on_its_way = self._thread.submit(self._funds.settle_all, settlements)
        self._posted_up_to = {one.partition: one.done_up_to for one in settlements if one.done_up_to}

    def finish(self) -> None:
        """Wait for the round on its way; raises what became of it."""
        on_its_way, self._on_its_way, self._posted_up_to = self._on_its_way, None, {}
        if on_its_way is not None:
            on_its_way.result()
