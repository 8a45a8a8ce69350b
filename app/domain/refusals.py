"""The catalogue of refusals: every way in which Holdfast says no, in order of precedence.

A refusal is a value, not an exception: it is an answer. Only the first that applies is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RefusalCode(StrEnum):
    """Stable codes, in order of precedence. The API reference lists them in this order."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    MALFORMED_REQUEST = "malformed_request"
    INVALID_CURSOR = "invalid_cursor"
    INVALID_ID = "invalid_id"
    ACCOUNTS_EQUAL = "accounts_equal"
    ACCOUNT_NOT_FOUND = "account_not_found"
    PAYMENT_NOT_FOUND = "payment_not_found"
    ACCOUNT_EXISTS = "account_exists"
    ACCOUNT_FROZEN = "account_frozen"
    ACCOUNT_CLOSED = "account_closed"
    ENTITY_MISMATCH = "entity_mismatch"
    UNKNOWN_CURRENCY = "unknown_currency"
    CURRENCY_MISMATCH = "currency_mismatch"
    AMOUNT_NOT_INTEGER = "amount_not_integer"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    TWO_GUARDED_ACCOUNTS = "two_guarded_accounts"
    EXTERNAL_ID_REUSED = "external_id_reused"
    EXTERNAL_ID_REFUSED = "external_id_refused"
    OPTIMISTIC_LOCK_CONFLICT = "optimistic_lock_conflict"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    BALANCE_OUT_OF_RANGE = "balance_out_of_range"
    REJECTED_BY_LEDGER = "rejected_by_ledger"
    LEDGER_BACKLOGGED = "ledger_backlogged"
    CACHE_UNAVAILABLE = "cache_unavailable"
    BOOKS_UNAVAILABLE = "books_unavailable"
    OUTCOME_UNKNOWN = "outcome_unknown"
    CONCURRENCY_RETRY_EXHAUSTED = "concurrency_retry_exhausted"
    INTERNAL_ERROR = "internal_error"


@dataclass(slots=True, frozen=True)
class Refusal:
    """One refusal: its code, a sentence for the person who reads it, and the figures that explain it."""

    code: RefusalCode
    detail: str
    figures: Mapping[str, object] = field(default_factory=dict)
    replayed: bool = False
    """Whether this is the recorded answer to an earlier request with the same external_id."""
