"""JSON responses, and problem+json (RFC 9457) for refusals and faults: the one table from codes to HTTP."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Flask, Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from app.domain.errors import (
    CacheUnavailable,
    ConcurrencyConflict,
    ConcurrencyRetryExhausted,
    LedgerUnavailable,
    Misconfigured,
    OutcomeUnknown,
)
from app.domain.refusals import Refusal, RefusalCode

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1

_encode = msgspec.json.Encoder().encode


class _ReadyResponse(Response):
    """A response whose headers are complete and plain ASCII, and whose content is one piece.

    Werkzeug would go through the headers again to add a length and quote a Location, and wrap the content to close it.
    Granian sends a list at once, but treats anything else as a stream.
    """

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:  # noqa: ARG002 - of the interface
        """The headers as they are."""
        return self.headers

    def get_app_iter(self, environ: WSGIEnvironment) -> list[bytes]:
        """The content as a list, which needs no closing."""
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self.response  # type: ignore[return-value]


def json_response(body: Any, status: int = 200, *, content_type: str = "application/json") -> Response:
    """A response with a JSON body."""
    return _ReadyResponse(_encode(body), status, content_type=content_type)


def page_response(data: list[Any], limit: int, cursor: str | None) -> Response:
    """A page: `next` is the cursor of the next page, null on the last one."""
    return json_response({"data": data, "next": cursor if len(data) == limit else None})


_HTTP: dict[RefusalCode, tuple[int, bool, str]] = {
    # code: status, whether the same request can succeed later, title
    RefusalCode.UNAUTHENTICATED: (401, False, "No valid API key"),
    RefusalCode.FORBIDDEN: (403, False, "The API key lacks the scope"),
    RefusalCode.NOT_FOUND: (404, False, "No such resource"),
    RefusalCode.METHOD_NOT_ALLOWED: (405, False, "Method not allowed here"),
    RefusalCode.PAYLOAD_TOO_LARGE: (413, False, "Request body too large"),
    RefusalCode.UNSUPPORTED_CONTENT_ENCODING: (415, False, "Content-Encoding not supported"),
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
    RefusalCode.JOURNAL_NOT_FOUND: (404, False, "No such journal"),
    RefusalCode.JOURNAL_ALREADY_REVERSED: (409, False, "Journal reversed already"),
    RefusalCode.REJECTED_BY_LEDGER: (422, False, "Rejected by the ledger"),
    RefusalCode.LINKED_PAYMENT_FAILED: (409, True, "Another payment of the atomic batch failed"),
    RefusalCode.LEDGER_BACKLOGGED: (503, True, "The ledger is behind"),
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
        "retryable": retryable,
    }
    return members | dict(refusal.figures) | members  # no figure overrides a member of the standard


def problem(refusal: Refusal) -> Response:
    """A refusal as a response."""
    status = status_of(refusal.code)
    response = json_response(problem_members(refusal), status, content_type="application/problem+json")
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="holdfast"'
    if refusal.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


class Refused(Exception):
    """Carries a refusal out of nested parsing to the error handler that answers it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


_FAULTS: dict[type[Exception], tuple[RefusalCode, str]] = {
    CacheUnavailable: (RefusalCode.CACHE_UNAVAILABLE, "The cache cannot be reached; nothing was done. Retry."),
    OutcomeUnknown: (
        RefusalCode.OUTCOME_UNKNOWN,
        "The cache did not answer in time, so the outcome is unknown. Retry with the same external_id: "
        "what was done is answered, what was not is done, nothing is done twice.",
    ),
    LedgerUnavailable: (
        RefusalCode.LEDGER_UNAVAILABLE,
        "The ledger cannot be reached or does not answer in time. Retry.",
    ),
    ConcurrencyConflict: (
        RefusalCode.CONCURRENCY_RETRY_EXHAUSTED,
        "Others are changing the same rows; nothing was done. Retry.",
    ),
    ConcurrencyRetryExhausted: (
        RefusalCode.CONCURRENCY_RETRY_EXHAUSTED,
        "Others are changing the same accounts; nothing was done. Retry.",
    ),
    Misconfigured: (RefusalCode.INTERNAL_ERROR, "This installation is misconfigured; its log says how."),
}


def install_error_handlers(application: Flask) -> None:
    """Turn every exception of a view into a problem response."""
    application.register_error_handler(Refused, lambda refused: problem(refused.refusal))
    for fault in _FAULTS:
        application.register_error_handler(fault, _answer_fault)
    application.register_error_handler(HTTPException, _answer_http)
    application.register_error_handler(Exception, _answer_unexpected)


def refusal_of(fault: Exception) -> Refusal:
    """The refusal that tells a client about a fault."""
    code, detail = _FAULTS[type(fault)]
    log.warning("%s: %s", code.value, fault)
    return Refusal(code, detail)


def unexpected(error: Exception) -> Refusal:
    """The refusal that tells a client about an error of ours; the error itself goes to the log."""
    log.error("unexpected error", exc_info=error)
    return Refusal(RefusalCode.INTERNAL_ERROR, "An error on our side; the log has it. Retry is safe.")


def _answer_fault(fault: Exception) -> Response:
    return problem(refusal_of(fault))


_HTTP_CODES = {
    404: RefusalCode.NOT_FOUND,
    405: RefusalCode.METHOD_NOT_ALLOWED,
    413: RefusalCode.PAYLOAD_TOO_LARGE,
}


def _answer_http(error: HTTPException) -> Response:
    if (error.code or 500) >= 500:
        return _answer_unexpected(error)
    code = _HTTP_CODES.get(error.code or 400, RefusalCode.MALFORMED_REQUEST)
    response = problem(Refusal(code, error.description or code.value))
    valid_methods = getattr(error, "valid_methods", None)
    if valid_methods:
        response.headers["Allow"] = ", ".join(valid_methods)
    return response


def _answer_unexpected(error: Exception) -> Response:
    return problem(unexpected(error))
