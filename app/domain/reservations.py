"""What the reserve script decided, and the idempotency record it keeps, as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.authorizations import AuthorizationState
from app.domain.payment import Intent, parse_payment_id
from app.domain.payment_checks import FINGERPRINT_LENGTH
from app.domain.timestamps import from_milliseconds


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
    """An account's funds in minor units: `available = balance − held − floor`, without a floor `balance − held`."""

    balance_minor: int
    held_minor: int
    floor_minor: int | None
    version: int

    @property
    def available_minor(self) -> int:
        """What may still be spent."""
        return self.balance_minor - self.held_minor - (self.floor_minor or 0)


@dataclass(slots=True)
class CachedBalance:
    """An account's hot state, with the entry number at which the ledger's balance was assigned."""

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
    """An idempotency record. `position` is None for a refusal; `funds` is the state a refusal was decided on."""

    fingerprint: str
    state: RecordState
    stream_id: str | None = None
    version: int | None = None
    """The account's version after an accepted payment."""
    funds: Funds | None = None
    """Also of what an earlier payment of the same dry run would have left."""
    original_payment_id: str | None = None


@dataclass(slots=True)
class Decision:
    """One payment's outcome in a reserve call.

    A reserved one has its position and the account's `version` after it; in a dry run its position is empty, and it has
    the `funds` it would have left. A refused one has the funds it was refused on.
    """

    code: ReserveCode
    stream_id: str | None = None
    version: int | None = None
    funds: Funds | None = None
    record: Record | None = None


@dataclass(slots=True)
class ReserveItem:
    """One payment to decide."""

    intent: Intent
    expected_version: int | None = None


@dataclass(slots=True)
class ReserveReply:
    """Outcomes of one partition's payments, in their order; `wake` asks for a drain."""

    wake: bool
    decisions: list[Decision]


@dataclass(slots=True)
class Failed:
    """An atomic batch of which nothing was written, because of the payment at `index`, the first that failed."""

    index: int
    decision: Decision


Elsewhere = dict[tuple[str, str], int]
"""External ids, with their entity, that another partition claimed before, and which."""


class ConcludeCode(StrEnum):
    """The outcomes of `lua/conclude.lua`, in its order of precedence; `STALE` is the class of that name."""

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
    """What came of an attempt to conclude; `version` is the account's after it."""

    code: ConcludeCode
    conclusion: Conclusion | None = None
    version: int | None = None
    wake: bool = False


class Stale:
    """The reserve call was refused whole: the caller's directory is older than the partition's."""


@dataclass(slots=True)
class InspectedAccount:
    """A consistent look at a cached account; `holds` maps a position to amount and whether its intent stands."""

    account_id: str
    funds: Funds
    entry_count: int
    holds: dict[str, tuple[int, bool]]


def parse_conclusion(text: str) -> Conclusion:
    """Read a conclusion as the cache keeps it: state|captured|position."""
    state, captured, stream_id = text.split("|")
    return Conclusion(AuthorizationState(state), int(captured), stream_id)


def parse_floor(text: str) -> int | None:
    """A floor as the cache keeps it: empty is none."""
    return int(text) if text else None


def parse_funds(text: str) -> Funds:
    """Read an account's funds as the cache keeps them: version|balance|held|floor|changed at."""
    version, balance, held, floor, _ = text.split("|")
    return Funds(int(balance), int(held), parse_floor(floor), int(version))


def parse_changed_at(text: str) -> datetime:
    """When an account's funds were changed last, from the same text: a time in ms since 1970, or a position."""
    return from_milliseconds(int(text.rpartition("|")[2].partition("-")[0]))


def parse_record(text: str) -> Record:
    """Read an idempotency record; its forms are listed in `lua/reserve.lua`."""
    fingerprint, state = text[:FINGERPRINT_LENGTH], RecordState(text[FINGERPRINT_LENGTH])
    rest = text[FINGERPRINT_LENGTH + 1 :]
    if state is RecordState.ACCEPTED:
        return Record(fingerprint, state, *_parse_accepted(rest))
    if state is RecordState.REFUSED:
        return Record(fingerprint, state, funds=parse_funds(rest))
    if state is RecordState.DUPLICATE:
        original = parse_payment_id(rest)
        return Record(fingerprint, state, stream_id=original.stream_id if original else None, original_payment_id=rest)
    return Record(fingerprint, state, stream_id=rest)


def _parse_accepted(text: str) -> tuple[str, int, Funds | None]:
    """Position, version, and funds: what was not written has no position, and only a dry run has the funds."""
    stream_id, _, rest = text.partition("|")
    if stream_id or "|" not in rest:
        return stream_id, int(rest), None
    funds = parse_funds(rest)
    return stream_id, funds.version, funds


_CODES = {code.value: code for code in ReserveCode}
"""Looked up for every payment, at a fifth of the cost of calling the enumeration."""


def parse_decision(text: str) -> Decision:
    """Read one payment's outcome; its forms are listed in `lua/reserve.lua`."""
    name, _, rest = text.partition("|")
    code = _CODES[name]
    if code is ReserveCode.RESERVED:
        return Decision(code, *_parse_accepted(rest))
    if code is ReserveCode.REPLAYED or code is ReserveCode.REUSED:
        return Decision(code, record=parse_record(rest))
    if code is ReserveCode.COLD:
        return Decision(code)
    return Decision(code, funds=parse_funds(rest))
