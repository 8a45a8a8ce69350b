"""Answers: JSON, and problem+json (RFC 9457) for refusals and faults; the one table from codes to HTTP."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.domain.errors import (
    CacheFull,
    CacheUnavailable,
    ClocksDisagree,
    ConcurrencyConflict,
    ConcurrencyRetryExhausted,
    HistoryRewritten,
    LedgerUnavailable,
    Misconfigured,
    OutcomeUnknown,
    SigningKeyUnusable,
)
from app.domain.refusals import Refusal, RefusalCode, without_funds

_encode = msgspec.json.Encoder().encode

JSON = ("content-type", "application/json")
PROBLEM = ("content-type", "application/problem+json")
REPLAYED = ("idempotent-replayed", "true")


ProblemMembers = Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/Problem"})]
"""A problem inside of an answer."""


@dataclass(slots=True)
class Answer:
    """What a view answers: values, which each server sends in its own way. Header names are in lower case.

    `body` is one piece, or pieces that are made while they are sent.
    """

    status: int
    body: bytes | Iterator[bytes]
    headers: list[tuple[str, str]] = field(default_factory=list)
    refusal: Refusal | None = None
    """What a problem tells."""


def json_answer(body: Any, status: int = 200, *headers: tuple[str, str]) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, _encode(body), [JSON, *headers])


def page_answer(data: list[Any], limit: int, cursor: str | None) -> Answer:
    """A page: `next` is the cursor of the next page, null on the last one."""
    return json_answer({"data": data, "next": cursor if len(data) == limit else None})


log = logging.getLogger(__name__)

RETRY_AFTER_S = 1
WITH_RETRY_AFTER = frozenset({408, 429, 503})

_HTTP: dict[RefusalCode, tuple[int, bool, str]] = {
    # code: status, whether the same request may succeed later, title
    RefusalCode.UNAUTHENTICATED: (401, False, "No valid API key"),
    RefusalCode.FORBIDDEN: (403, False, "The API key may not do this"),
    RefusalCode.RATE_LIMITED: (429, True, "Too many requests with this API key"),
    RefusalCode.NOT_FOUND: (404, False, "No such resource"),
    RefusalCode.METHOD_NOT_ALLOWED: (405, False, "Method not allowed here"),
    RefusalCode.PAYLOAD_TOO_LARGE: (413, False, "Request body too large"),
    RefusalCode.REQUEST_TIMEOUT: (408, True, "The request took too long to arrive"),
    RefusalCode.UNSUPPORTED_CONTENT_ENCODING: (415, False, "Content-Encoding not supported"),
    RefusalCode.SERVER_BUSY: (503, True, "Too many requests at once"),
    RefusalCode.TOO_MANY_STREAMS: (503, True, "Too many streams at once"),
    RefusalCode.MALFORMED_REQUEST: (400, False, "Malformed request"),
    RefusalCode.BATCH_TOO_LARGE: (413, False, "Too many payments in one batch"),
    RefusalCode.INVALID_CURSOR: (400, False, "Invalid page parameters"),
    RefusalCode.EFFECTIVE_AT_IN_FUTURE: (422, False, "effective_at lies in the future"),
    RefusalCode.INVALID_ID: (422, False, "Invalid identifier"),
    RefusalCode.ACCOUNTS_EQUAL: (422, False, "Source equals destination"),
    RefusalCode.ACCOUNT_NOT_FOUND: (404, False, "Account not found"),
    RefusalCode.PAYMENT_NOT_FOUND: (404, False, "Payment not found"),
    RefusalCode.ACCOUNT_EXISTS: (409, False, "Account exists with other content"),
    RefusalCode.ASSET_EXISTS: (409, False, "Asset exists with other content"),
    RefusalCode.KEY_NOT_ROTATABLE: (409, False, "Key cannot be rotated"),
    RefusalCode.ACCOUNT_PAUSED: (409, True, "Account is being changed"),
    RefusalCode.ACCOUNT_FROZEN: (422, False, "Account frozen"),
    RefusalCode.ACCOUNT_CLOSED: (422, False, "Account closed"),
    RefusalCode.ENTITY_MISMATCH: (422, False, "Accounts of different entities"),
    RefusalCode.UNKNOWN_CURRENCY: (422, False, "Unknown currency"),
    RefusalCode.CURRENCY_MISMATCH: (422, False, "Currency mismatch"),
    RefusalCode.AMOUNT_NOT_INTEGER: (422, False, "Amount is not an integer"),
    RefusalCode.AMOUNT_NOT_POSITIVE: (422, False, "Amount is not positive"),
    RefusalCode.AMOUNT_OUT_OF_RANGE: (422, False, "Amount out of range"),
    RefusalCode.SPLITS_DO_NOT_ADD_UP: (422, False, "Splits do not add up"),
    RefusalCode.EXPIRY_NOT_ALLOWED: (422, False, "Expiry not allowed"),
    RefusalCode.JOURNAL_UNBALANCED: (422, False, "Journal does not balance"),
    RefusalCode.TWO_GUARDED_ACCOUNTS: (422, False, "Both accounts are guarded"),
    RefusalCode.BATCH_CROSSES_PARTITIONS: (422, False, "Atomic batch crosses partitions"),
    RefusalCode.EXTERNAL_ID_REUSED: (422, False, "external_id used for another payment"),
    RefusalCode.EXTERNAL_ID_REFUSED: (422, False, "external_id refused before"),
    RefusalCode.PRECONDITION_FAILED: (412, False, "The resource has changed"),
    RefusalCode.OPTIMISTIC_LOCK_CONFLICT: (409, True, "The account has changed"),
    RefusalCode.INSUFFICIENT_FUNDS: (422, False, "Insufficient funds"),
    RefusalCode.BALANCE_OUT_OF_RANGE: (422, False, "Balance out of range"),
    RefusalCode.LIMIT_BELOW_USE: (422, False, "Limit below what is in use"),
    RefusalCode.ACCOUNT_NOT_EMPTY: (422, False, "Account not empty"),
    RefusalCode.HOLD_NOT_FOUND: (404, False, "No such authorization"),
    RefusalCode.HOLD_ALREADY_CAPTURED: (409, False, "Authorization captured already"),
    RefusalCode.HOLD_ALREADY_VOIDED: (409, False, "Authorization voided already"),
    RefusalCode.HOLD_EXPIRED: (409, False, "Authorization expired"),
    RefusalCode.CAPTURE_EXCEEDS_HOLD: (422, False, "Capture exceeds the authorization"),
    RefusalCode.PAYMENT_NOT_POSTED: (409, True, "Payment not posted yet"),
    RefusalCode.JOURNAL_RETURNS_NOTHING: (422, False, "Journal gives nothing back"),
    RefusalCode.REFUND_EXCEEDS_PAYMENT: (422, False, "Refund exceeds the payment"),
    RefusalCode.APPROVAL_NEEDED: (403, False, "A second person must approve"),
    RefusalCode.PROPOSAL_NOT_FOUND: (404, False, "No such proposed journal"),
    RefusalCode.SECOND_PERSON_NEEDED: (403, False, "Another person decides"),
    RefusalCode.PROPOSAL_DECIDED: (409, False, "Proposed journal decided already"),
    RefusalCode.JOURNAL_NOT_FOUND: (404, False, "No such journal"),
    RefusalCode.JOURNAL_ALREADY_REVERSED: (409, False, "Journal reversed already"),
    RefusalCode.BREAK_INCOMPLETE: (422, False, "Something is missing to settle the break"),
    RefusalCode.BREAK_SETTLED: (409, False, "The break is settled"),
    RefusalCode.BREAK_NOT_REPAIRABLE: (409, False, "The break cannot be repaired"),
    RefusalCode.PERIOD_SIGNED_OFF: (409, False, "The period is signed off"),
    RefusalCode.MATCH_CONFLICT: (409, False, "Not open for this match"),
    RefusalCode.MATCH_DIFFERS: (422, False, "Lines and entries differ"),
    RefusalCode.SIGN_OFF_INCOMPLETE: (409, False, "Not ready to be signed off"),
    RefusalCode.REJECTED_BY_LEDGER: (422, False, "Rejected by the ledger"),
    RefusalCode.LINKED_PAYMENT_FAILED: (409, True, "Another payment of the atomic batch failed"),
    RefusalCode.LEDGER_BACKLOGGED: (503, True, "The ledger is behind"),
    RefusalCode.CACHE_FULL: (503, True, "The cache has no memory to spare"),
    RefusalCode.CLOCKS_DISAGREE: (503, True, "The servers' clocks disagree"),
    RefusalCode.CACHE_UNAVAILABLE: (503, True, "The cache is not available"),
    RefusalCode.LEDGER_UNAVAILABLE: (503, True, "The ledger is not available"),
    RefusalCode.OUTCOME_UNKNOWN: (503, True, "Outcome unknown"),
    RefusalCode.CONCURRENCY_RETRY_EXHAUSTED: (503, True, "Concurrency retries used up"),
    RefusalCode.INTERNAL_ERROR: (500, True, "Internal error"),
}


def status_of(code: RefusalCode) -> int:
    """The HTTP status of a code."""
    return _HTTP[code][0]


def catalogue() -> list[tuple[RefusalCode, int, bool, str]]:
    """Every code in order of precedence, with status, retryable and title."""
    return [(code, *_HTTP[code]) for code in RefusalCode]


def problem_members(refusal: Refusal) -> dict[str, Any]:
    """A refusal as the members of a problem: those of the standard, ours, and the figures."""
    status, retryable, title = _HTTP[refusal.code]
    members: dict[str, Any] = {
        "type": f"/v1/problems#{refusal.code.value}",
        "title": title,
        "status": status,
        "code": refusal.code.value,
        "detail": refusal.detail,
        "retryable": retryable if refusal.retryable is None else refusal.retryable,
    }
    return members | dict(refusal.figures) | members  # a figure never takes the place of a member of the standard


def problem(refusal: Refusal) -> Answer:
    """A refusal as an answer."""
    status = status_of(refusal.code)
    headers = [PROBLEM]
    if status in WITH_RETRY_AFTER:
        headers.append(("retry-after", str(refusal.figures.get("retry_after_s", RETRY_AFTER_S))))
    if status == 401:
        headers.append(("www-authenticate", 'Bearer realm="holdfast"'))
    if status == 405:
        allowed = refusal.figures.get("allowed")
        headers.append(("allow", ", ".join(allowed) if isinstance(allowed, list) else ""))
    if refusal.replayed:
        headers.append(REPLAYED)
    return Answer(status, _encode(problem_members(refusal)), headers, refusal)


def for_non_reader(answer: Answer) -> Answer:
    """The same answer for a caller who may not read balances."""
    if answer.refusal is None:
        return answer
    return replace(answer, body=_encode(problem_members(without_funds(answer.refusal))))


class Refused(Exception):
    """Carries a refusal out of nested parsing to the one place that answers it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal
        self.headers: list[tuple[str, str]] = []
        """What the answer tells besides."""


_FAULTS: dict[type[Exception], tuple[RefusalCode, str]] = {
    CacheFull: (
        RefusalCode.CACHE_FULL,
        "The cache has no memory to spare for new payments; nothing was done. Retry: posting makes room.",
    ),
    ClocksDisagree: (
        RefusalCode.CLOCKS_DISAGREE,
        "The clocks of the servers disagree, so a payment would get a wrong time; nothing was done. Retry.",
    ),
    CacheUnavailable: (RefusalCode.CACHE_UNAVAILABLE, "The cache cannot be reached; nothing was done. Retry."),
    OutcomeUnknown: (
        RefusalCode.OUTCOME_UNKNOWN,
        "The cache did not answer in time, so the outcome is unknown. Retry with the same external_id: "
        "what was done is answered, what was not is done, nothing is done twice.",
    ),
    LedgerUnavailable: (
        RefusalCode.LEDGER_UNAVAILABLE,
        "The ledger cannot be reached or do not answer in time. Retry.",
    ),
    ConcurrencyConflict: (
        RefusalCode.CONCURRENCY_RETRY_EXHAUSTED,
        "Others are changing the same rows; nothing was done. Retry.",
    ),
    ConcurrencyRetryExhausted: (
        RefusalCode.CONCURRENCY_RETRY_EXHAUSTED,
        "Others are changing the same accounts; nothing was done. Retry.",
    ),
    HistoryRewritten: (
        RefusalCode.INTERNAL_ERROR,
        "The ledger's history is not the one that its last head was signed for, so no evidence is given. Run verify.",
    ),
    SigningKeyUnusable: (RefusalCode.INTERNAL_ERROR, "The key that signs evidence cannot be used; the log says why."),
    Misconfigured: (RefusalCode.INTERNAL_ERROR, "This installation is misconfigured; its log says how."),
}


FAULT_CODES = frozenset(code for code, _ in _FAULTS.values())
"""What a request can be answered that touches a server."""

_UNKNOWN_FAULT = (RefusalCode.INTERNAL_ERROR, "A fault on our side; the log has it. Retry is safe.")


def refusal_of(fault: Exception) -> Refusal:
    """The refusal that tells a client of a fault."""
    code, detail = next((_FAULTS[kind] for kind in type(fault).__mro__ if kind in _FAULTS), _UNKNOWN_FAULT)
    log.warning("%s: %s", code.value, fault)
    return Refusal(code, detail)


def unexpected(error: Exception) -> Refusal:
    """The refusal that tells a client of an error of ours; the log gets the error itself."""
    log.error("unexpected error", exc_info=error)
    return Refusal(RefusalCode.INTERNAL_ERROR, "An error on our side; the log has it. Retry is safe.")


def problem_of(fault: Exception) -> Answer:
    """A fault as an answer."""
    return problem(refusal_of(fault))
