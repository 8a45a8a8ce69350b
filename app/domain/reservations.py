"""What the cache decides about payments and authorizations, and what it remembers of them, as values.

`app/cache/codec.py` reads these values from the texts of the cache.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from app.domain.authorizations import AuthorizationState
from app.domain.payment import Intent


class ReserveCode(StrEnum):
    """The outcomes of `lua/reserve.lua`, in its order of precedence."""

    REPLAYED = "REPLAYED"
    REUSED = "REUSED"
    COLD = "COLD"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    BALANCE_OUT_OF_RANGE = "BALANCE_OUT_OF_RANGE"
    BACKLOGGED = "BACKLOGGED"
    RESERVED = "RESERVED"


@dataclass(slots=True)
class Funds:
    """An account's funds in minor units: `available = balance − held − floor`; without a floor, `balance − held`."""

    balance_minor: int
    held_minor: int
    floor_minor: int | None
    version: int

    @property
    def available_minor(self) -> int:
        """What can still be spent."""
        return self.balance_minor - self.held_minor - (self.floor_minor or 0)

    def would_do_unheld(self, amount_minor: int) -> bool:
        """Whether an amount could be spent if nothing were held: then only what is held stands in its way."""
        return self.would_do_without(self.held_minor, amount_minor)

    def would_do_without(self, freed_minor: int, amount_minor: int) -> bool:
        """Whether an amount could be spent if so much of what is held came free."""
        return self.available_minor + min(freed_minor, self.held_minor) >= amount_minor


@dataclass(slots=True)
class CachedBalance:
    """An account as the cache has it; `entry_count` is the entry number at which the ledger's balance was assigned."""

    funds: Funds
    entry_count: int
    updated_at: datetime


class RecordState(StrEnum):
    """What became of an external id inside the idempotency window."""

    ACCEPTED = "A"
    REFUSED = "R"
    REJECTED = "X"
    DUPLICATE = "D"


@dataclass(slots=True)
class Record:
    """An idempotency record. A refusal has no `stream_id`, but the `funds` on which it was decided."""

    fingerprint: str
    state: RecordState
    stream_id: str | None = None
    version: int | None = None
    """The account's version after an accepted payment."""
    funds: Funds | None = None
    """In a dry run, also what an earlier payment of the same run would have left."""
    original_payment_id: str | None = None


@dataclass(slots=True)
class Decision:
    """One payment's outcome in a reserve call.

    A reserved payment has its `stream_id` and the account's `version` after it. In a dry run the stream id is empty,
    and `funds` are what the payment would have left. A refused payment has the funds on which it was refused.
    """

    code: ReserveCode
    stream_id: str | None = None
    version: int | None = None
    funds: Funds | None = None
    record: Record | None = None
    funds_text: str = field(default="", compare=False)
    """The funds of a refusal as the cache wrote them: the record of a refusal repeats this text."""


@dataclass(slots=True)
class ReserveItem:
    """One payment to decide."""

    intent: Intent
    expected_version: int | None = None


@dataclass(slots=True)
class ReserveReply:
    """Outcomes of one partition's payments, in their order; `wake` says that nobody is draining."""

    wake: bool
    decisions: list[Decision]


@dataclass(slots=True)
class Failed:
    """An atomic batch of which nothing was written; `index` is the first payment that failed."""

    index: int
    decision: Decision


EarlierClaims = dict[tuple[str, str], int]
"""The partition that claimed an external id before, by entity and external id, if it is another partition."""


class ConcludeCode(StrEnum):
    """The outcomes of `lua/conclude.lua`, in its order of precedence; the class `Stale` is one more."""

    CONCLUDED_BEFORE = "CONCLUDED_BEFORE"
    COLD = "COLD"
    GONE = "GONE"
    EXPIRED = "EXPIRED"
    NOT_DUE = "NOT_DUE"
    BACKLOGGED = "BACKLOGGED"
    CONCLUDED = "CONCLUDED"


@dataclass(slots=True, frozen=True)
class Conclusion:
    """How an authorization ended: state, amount captured (minor units), and the outbox position of its end."""

    state: AuthorizationState
    captured_minor: int
    stream_id: str


@dataclass(slots=True)
class ConcludeReply:
    """The outcome of an attempt to conclude; `version` is the account's after it."""

    code: ConcludeCode
    conclusion: Conclusion | None = None
    version: int | None = None
    wake: bool = False


class Stale:
    """The whole script call was refused: the caller's directory is older than the partition's."""


@dataclass(slots=True)
class InspectedAccount:
    """A consistent look at a cached account; `holds` maps a stream id to amount and whether the intent is pending."""

    account_id: str
    funds: Funds
    entry_count: int
    holds: dict[str, tuple[int, bool]]
