"""What the services need of the cache."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from app.domain.changes import LimitReply
from app.domain.decisions import (
    CachedBalance,
    ConcludeReply,
    Conclusion,
    Elsewhere,
    Failed,
    InspectedAccount,
    Record,
    ReserveItem,
    ReserveReply,
    Stale,
)
from app.domain.holds import HoldState
from app.domain.partitions import PaymentPosition
from app.domain.payments import Intent
from app.domain.posting import LedgerBalance, QueuedIntent
from app.domain.settlement import AccountSettlement, Notice, PartitionSettlement


class ReserveFunds(Protocol):
    """The cache, for deciding payments."""

    partitions: int

    def partition_of(self, account_id: str) -> int: ...
    def directory_version(self, partition: int) -> int | None: ...
    def reserve(
        self, groups: Sequence[tuple[int, Sequence[ReserveItem]]], directory_version: int
    ) -> tuple[list[ReserveReply | Stale], Elsewhere]: ...
    def reserve_unclaimed(
        self,
        groups: Sequence[tuple[int, Sequence[ReserveItem]]],
        directory_version: int,
        *,
        atomic: bool = False,
        dry_run: bool = False,
    ) -> list[ReserveReply | Failed | Stale]: ...
    def claim(self, groups: Sequence[tuple[int, Sequence[ReserveItem]]]) -> Elsewhere: ...
    def claimed_elsewhere(self, groups: Sequence[tuple[int, Sequence[ReserveItem]]]) -> Elsewhere: ...
    def claimed_partition(self, entity_id: str, external_id: str) -> int | None: ...
    def record(self, partition: int, entity_id: str, external_id: str) -> Record | None: ...
    def pending(self, place: PaymentPosition) -> QueuedIntent | None: ...
    def conclusion(self, place: PaymentPosition) -> Conclusion | None: ...
    def open(self, partition: int, directory_version: int, last_posted: str) -> int: ...


class RepairFunds(Protocol):
    """The cache, for making accounts anew."""

    def partition_of(self, account_id: str) -> int: ...
    def pending(self, place: PaymentPosition) -> QueuedIntent | None: ...
    def outbox(self, partition: int, after: str = "0", limit: int = 1_000) -> list[QueuedIntent]: ...
    def inspect(self, partition: int, account_ids: Sequence[str]) -> list[InspectedAccount]: ...
    def rebuild(
        self,
        seen: InspectedAccount | None,
        row: LedgerBalance,
        directory_version: int,
        authorizations: Mapping[str, int],
        intents: Mapping[str, int],
    ) -> bool: ...
    def forget(self, account_id: str) -> None: ...


class BalanceFunds(Protocol):
    """The cache, for reading and hydrating balances."""

    def place_holder(self, account_ids: Iterable[str]) -> None: ...
    def balance(self, account_id: str) -> CachedBalance | None: ...
    def hydrate(
        self, rows: Sequence[LedgerBalance], directory_version: int, open_holds: Mapping[str, Mapping[str, int]]
    ) -> list[CachedBalance | None]: ...


class DrainFunds(Protocol):
    """The cache, for draining the outbox."""

    partitions: int

    def partition_of(self, account_id: str) -> int: ...
    def backlog(self) -> dict[int, int]: ...
    def mark_awake(self) -> None: ...
    def mark_asleep(self) -> None: ...
    def outbox(self, partition: int, after: str = "0", limit: int = 1_000) -> list[QueuedIntent]: ...
    def outboxes(self, after: Mapping[int, str], limit: int) -> dict[int, list[QueuedIntent]]: ...
    def settle_all(self, settlements: Sequence[PartitionSettlement]) -> None: ...
    def announce(self, notice: Notice) -> None: ...
    def claimed_elsewhere(self, groups: Sequence[tuple[int, Sequence[QueuedIntent]]]) -> Elsewhere: ...
    def record(self, partition: int, entity_id: str, external_id: str) -> Record | None: ...


class ProofFunds(Protocol):
    """The cache, for proving it equal to the books."""

    partitions: int

    def partition_of(self, account_id: str) -> int: ...
    def outbox(self, partition: int, after: str = "0", limit: int = 1_000) -> list[QueuedIntent]: ...
    def cached_accounts(self, batch: int = 500) -> Iterator[tuple[int, list[str]]]: ...
    def inspect(self, partition: int, account_ids: Sequence[str]) -> list[InspectedAccount]: ...
    def witness(self, partition: int, intents: Sequence[QueuedIntent]) -> list[tuple[QueuedIntent, int]]: ...


class ChangeFunds(Protocol):
    """The cache, for changes of accounts."""

    partitions: int

    def balance(self, account_id: str) -> CachedBalance | None: ...
    def limit(self, account_id: str, floor_minor: int | None, directory_version: int, mode: str) -> LimitReply: ...
    def outbox(self, partition: int, after: str = "0", limit: int = 1_000) -> list[QueuedIntent]: ...


class PushFunds(Protocol):
    """The cache, for telling every partition of a change."""

    def open_all(self, directory_version: int, last_posted: Mapping[int, str]) -> None: ...
    def limit(self, account_id: str, floor_minor: int | None, directory_version: int, mode: str) -> LimitReply: ...


class ReplayFunds(Protocol):
    """The cache, for seeing what still waits."""

    def outbox(self, partition: int, after: str = "0", limit: int = 1_000) -> list[QueuedIntent]: ...


class ConcludeFunds(Protocol):
    """The cache, for ending authorizations."""

    def conclude(
        self,
        place: PaymentPosition,
        intent: Intent,
        state: HoldState,
        expires_at_ms: int,
        directory_version: int,
        holds_nothing: bool = False,
    ) -> ConcludeReply | Stale: ...
    def conclusion(self, place: PaymentPosition) -> Conclusion | None: ...


class PendingFunds(Protocol):
    """The cache, for seeing whether an intent is still to be posted."""

    def pending(self, place: PaymentPosition) -> QueuedIntent | None: ...


class JournalFunds(Protocol):
    """The cache, for what is posted at once: hold first, settle after."""

    def partition_of(self, account_id: str) -> int: ...
    def reserve_unclaimed(
        self,
        groups: Sequence[tuple[int, Sequence[ReserveItem]]],
        directory_version: int,
        *,
        atomic: bool = False,
        dry_run: bool = False,
    ) -> list[ReserveReply | Failed | Stale]: ...
    def claimed_partition(self, entity_id: str, external_id: str) -> int | None: ...
    def record(self, partition: int, entity_id: str, external_id: str) -> Record | None: ...
    def settle(
        self,
        partition: int,
        accounts: Sequence[AccountSettlement],
        *,
        done: Sequence[str] = (),
    ) -> None: ...
