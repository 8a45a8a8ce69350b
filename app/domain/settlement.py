"""What settling tells the cache and the waiters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class AccountSettlement:
    """What one account's cache is to become: the ledger's balance at `entry_count`, and the positions to free.

    A posted position has become an entry; a released one was rejected or a duplicate.
    """

    account_id: str
    balance_minor: int
    entry_count: int
    version: int
    updated_at_ms: int
    posted: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Notice:
    """News for the waiters of one partition: which positions the books have answered, and how.

    `up_to` speaks of every position to it, `done` of single ones. Of the answered ones, those in `refused` were not
    posted under their own id. `exhausted` ones are still pending, after all retries of this round.
    """

    partition: int
    up_to: str = ""
    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    exhausted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PartitionSettlement:
    """What one partition's cache is to become.

    `records` are idempotency records to rewrite. `done_up_to` trims the outbox of everything up to that position;
    `done` removes single positions instead.
    """

    partition: int
    accounts: Sequence[AccountSettlement]
    records: Mapping[tuple[str, str], str] = field(default_factory=dict)
    done_up_to: str = ""
    done: Sequence[str] = ()
    notice: Notice | None = None

    @property
    def trims(self) -> bool:
        """Whether intents leave the outbox, so that nobody would find again what was not done before."""
        return bool(self.done_up_to or self.done)
