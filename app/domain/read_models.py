"""What the ledger answers to queries, as values, and the cursor that pins all pages of a report to one moment."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from json import dumps, loads
from typing import Any

from app.domain.accounts import AccountStatus, AccountType
from app.domain.authorizations import Authorization
from app.domain.refusals import Refusal


@dataclass(slots=True, frozen=True)
class Account:
    """An account as the ledger keeps it. `overdraft_limit_minor` in minor units; None is no floor.

    `version` grows with each change of the account itself; the balance has a version of its own.
    """

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    name: str | None
    overdraft_limit_minor: int | None
    status: AccountStatus
    metadata: Mapping[str, Any] | None
    created_by: str
    created_at: datetime
    version: int = 0


@dataclass(slots=True, frozen=True)
class PostedLeg:
    """One entry of a posted payment; signed minor units, debit positive."""

    account_id: str
    entry_number: int
    amount_minor: int
    balance_minor: int


@dataclass(slots=True, frozen=True)
class PostedPayment:
    """A payment as the ledger has it."""

    payment_id: str
    external_id: str
    entity_id: str
    kind: str
    fingerprint: str
    partition: int
    chain_seq: int
    currency_code: str
    description: str | None
    metadata: dict[str, Any] | None
    accepted_at: datetime
    effective_at: datetime
    posted_at: datetime
    legs: list[PostedLeg]
    duplicate_of: str | None = None
    authorization: Authorization | None = None
    """Of a captured one, what was authorized, and how it ended."""
    refunded_minor: int = 0
    """What refunds, and journals that name it, have given back of it."""

    @property
    def destination_ids(self) -> list[str]:
        """The credited accounts, in order."""
        return [leg.account_id for leg in self.legs[1:]]


@dataclass(slots=True, frozen=True)
class RejectedPayment:
    """A payment that was acknowledged and that the ledger rejected, with the reason."""

    payment_id: str
    external_id: str
    entity_id: str
    refusal: Refusal
    intent: dict[str, Any]
    rejected_at: datetime


@dataclass(slots=True, frozen=True)
class AccountEntry:
    """One line of an account's history; `amount_minor` signed, debit positive; `balance_minor` after it."""

    entry_number: int
    amount_minor: int
    balance_minor: int
    currency_code: str
    posted_at: datetime
    effective_at: datetime
    payment_id: str
    external_id: str
    kind: str
    description: str | None


@dataclass(slots=True, frozen=True)
class TrialBalanceLine:
    """An account in the trial balance: its balance on its own side, minor units."""

    account_id: str
    entity_id: str
    type: str
    currency_code: str
    debit_minor: int
    credit_minor: int


@dataclass(slots=True, frozen=True)
class TrialBalanceTotal:
    """One currency's totals; a balanced ledger has equal sides."""

    currency_code: str
    debit_minor: int
    credit_minor: int
    account_count: int


class Durability(StrEnum):
    """What the present status of a payment survives: the ledger keeps it, or only the cache, by its setting.

    A dry run leaves nothing that could be lost.
    """

    LEDGER = "ledger"
    CACHE_FSYNC_ALWAYS = "cache_fsync_always"
    CACHE_FSYNC_EVERYSEC = "cache_fsync_everysec"
    CACHE_MEMORY_ONLY = "cache_memory_only"
    CACHE_UNKNOWN = "cache_unknown"
    NONE = "none"


class TimeBasis(StrEnum):
    """Which of an entry's two times counts: when it takes effect, or when it was posted."""

    EFFECTIVE = "effective"
    POSTED = "posted"


@dataclass(slots=True, frozen=True)
class AsOf:
    """An instant in the ledger. Times are shown in milliseconds, so an entry shown at `at` counts as happened."""

    at: datetime
    by: TimeBasis

    @property
    def before(self) -> datetime:
        """Entries before this moment count as of the instant; OverflowError at the end of the calendar."""
        return self.at.replace(microsecond=self.at.microsecond // 1000 * 1000) + timedelta(milliseconds=1)


@dataclass(slots=True, frozen=True)
class ConflictCount:
    """How often posting had to retry for an account, and how often it ran out of retries."""

    account_id: str
    retries: int
    exhausted: int
    last_at: datetime


@dataclass(slots=True, frozen=True)
class LedgerMoment:
    """The ledger as one snapshot saw it: how far each hash chain had come, by partition, and the newest account's row.

    It is exact where a time is not: a transaction may commit after a later one has been read.
    """

    chain_seqs: tuple[int, ...]
    last_account: int


@dataclass(slots=True, frozen=True)
class ReportCursor:
    """Where a walk goes on: after which account, in the ledger of which moment."""

    after_account_id: str
    moment: LedgerMoment

    @property
    def text(self) -> str:
        """The text that a client sends back."""
        values = [self.after_account_id, self.moment.last_account, *self.moment.chain_seqs]
        return urlsafe_b64encode(dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")


_LARGEST = 2**63 - 1


def parse_cursor(text: str) -> ReportCursor:
    """The cursor in a text; ValueError if there is none."""
    values = loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    if not isinstance(values, list) or len(values) < 3:
        raise ValueError("not a cursor")
    account_id, last_account, *chain_seqs = values
    if not isinstance(account_id, str) or not all(_is_count(one) for one in (last_account, *chain_seqs)):
        raise ValueError("not a cursor")
    return ReportCursor(account_id, LedgerMoment(tuple(chain_seqs), last_account))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
