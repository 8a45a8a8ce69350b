"""The catalogue of refusals: every way in which Holdfast says no, in order of precedence.

A refusal is a value, not an exception: it is an answer. If several apply, only the first is given.
`account_refusals.py`, `payment_refusals.py` and `journal_refusals.py` build them; `app/api/request_refusals.py` builds
those of requests that cannot be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class RefusalCode(StrEnum):
    """Stable codes, in order of precedence. The API reference lists them in this order."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    UNSUPPORTED_CONTENT_ENCODING = "unsupported_content_encoding"
    SERVER_BUSY = "server_busy"
    TOO_MANY_STREAMS = "too_many_streams"
    MALFORMED_REQUEST = "malformed_request"
    BATCH_TOO_LARGE = "batch_too_large"
    INVALID_CURSOR = "invalid_cursor"
    EFFECTIVE_AT_IN_FUTURE = "effective_at_in_future"
    INVALID_ID = "invalid_id"
    ACCOUNTS_EQUAL = "accounts_equal"
    ACCOUNT_NOT_FOUND = "account_not_found"
    PAYMENT_NOT_FOUND = "payment_not_found"
    ACCOUNT_EXISTS = "account_exists"
    ASSET_EXISTS = "asset_exists"
    KEY_NOT_ROTATABLE = "key_not_rotatable"
    ACCOUNT_PAUSED = "account_paused"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_CLOSED = "account_closed"
    ENTITY_MISMATCH = "entity_mismatch"
    UNKNOWN_CURRENCY = "unknown_currency"
    CURRENCY_MISMATCH = "currency_mismatch"
    AMOUNT_NOT_INTEGER = "amount_not_integer"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    SPLITS_DO_NOT_ADD_UP = "splits_do_not_add_up"
    EXPIRY_NOT_ALLOWED = "expiry_not_allowed"
    JOURNAL_UNBALANCED = "journal_unbalanced"
    TWO_GUARDED_ACCOUNTS = "two_guarded_accounts"
    BATCH_CROSSES_PARTITIONS = "batch_crosses_partitions"
    EXTERNAL_ID_REUSED = "external_id_reused"
    EXTERNAL_ID_REFUSED = "external_id_refused"
    PRECONDITION_FAILED = "precondition_failed"
    OPTIMISTIC_LOCK_CONFLICT = "optimistic_lock_conflict"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    BALANCE_OUT_OF_RANGE = "balance_out_of_range"
    LIMIT_BELOW_USE = "limit_below_use"
    ACCOUNT_NOT_EMPTY = "account_not_empty"
    HOLD_NOT_FOUND = "hold_not_found"
    HOLD_ALREADY_CAPTURED = "hold_already_captured"
    HOLD_ALREADY_VOIDED = "hold_already_voided"
    HOLD_EXPIRED = "hold_expired"
    CAPTURE_EXCEEDS_HOLD = "capture_exceeds_hold"
    PAYMENT_NOT_POSTED = "payment_not_posted"
    JOURNAL_RETURNS_NOTHING = "journal_returns_nothing"
    REFUND_EXCEEDS_PAYMENT = "refund_exceeds_payment"
    APPROVAL_NEEDED = "approval_needed"
    PROPOSAL_NOT_FOUND = "proposal_not_found"
    SECOND_PERSON_NEEDED = "second_person_needed"
    PROPOSAL_DECIDED = "proposal_decided"
    JOURNAL_NOT_FOUND = "journal_not_found"
    JOURNAL_ALREADY_REVERSED = "journal_already_reversed"
    BREAK_INCOMPLETE = "break_incomplete"
    BREAK_SETTLED = "break_settled"
    BREAK_NOT_REPAIRABLE = "break_not_repairable"
    PERIOD_SIGNED_OFF = "period_signed_off"
    MATCH_CONFLICT = "match_conflict"
    MATCH_DIFFERS = "match_differs"
    SIGN_OFF_INCOMPLETE = "sign_off_incomplete"
    REJECTED_BY_LEDGER = "rejected_by_ledger"
    LINKED_PAYMENT_FAILED = "linked_payment_failed"
    LEDGER_BACKLOGGED = "ledger_backlogged"
    CACHE_FULL = "cache_full"
    CLOCKS_DISAGREE = "clocks_disagree"
    CACHE_UNAVAILABLE = "cache_unavailable"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    OUTCOME_UNKNOWN = "outcome_unknown"
    CONCURRENCY_RETRY_EXHAUSTED = "concurrency_retry_exhausted"
    INTERNAL_ERROR = "internal_error"


@dataclass(slots=True, frozen=True)
class Refusal:
    """One refusal: its code, a sentence for people, and the figures that explain it."""

    code: RefusalCode
    detail: str
    figures: Mapping[str, object] = field(default_factory=dict)
    replayed: bool = False
    """Whether this is the recorded answer to an earlier request with the same external_id."""
    retryable: bool | None = None
    """Whether the same request may succeed later; None: as always with this code."""


FUNDS_FIGURES = frozenset(
    {
        *("balance_minor", "held_minor", "floor_minor", "available_minor", "lowest_limit_minor"),
        *("version", "current_version", "pending_payments", "open_authorizations"),
    }
)
"""The figures that tell the funds of an account."""

_DISCREET = {
    RefusalCode.INSUFFICIENT_FUNDS: "The account has not enough funds available.",
    RefusalCode.OPTIMISTIC_LOCK_CONFLICT: "The account is not at the expected version.",
    RefusalCode.LIMIT_BELOW_USE: "More than the new limit is in use or promised.",
    RefusalCode.ACCOUNT_NOT_EMPTY: "The account is not empty, or payments or authorizations of it are open.",
}
"""What is said in place of a sentence that names an account's funds."""


def without_funds(refusal: Refusal) -> Refusal:
    """A refusal for a caller who may not read balances: its figures and its sentence do not tell any."""
    figures = {name: value for name, value in refusal.figures.items() if name not in FUNDS_FIGURES}
    if len(figures) == len(refusal.figures):
        return refusal
    return replace(refusal, detail=_DISCREET.get(refusal.code, refusal.detail), figures=figures)
