"""Builders of the refusals that only the API gives: who asks, and requests that cannot be read."""

from app.domain.refusals import Refusal, RefusalCode
from app.domain.wording import sized


def unauthenticated() -> Refusal:
    """No API key, or one that is not valid."""
    detail = "Send `Authorization: Bearer <key>` with a valid API key; `python3 -m app keys create` makes one."
    return Refusal(RefusalCode.UNAUTHENTICATED, detail)


def forbidden(scope: str) -> Refusal:
    """An API key without the scope that the route needs."""
    return Refusal(RefusalCode.FORBIDDEN, f"This key lacks the scope {scope!r}.", {"scope": scope})


def asset_not_found(currency_code: str) -> Refusal:
    """A code under which there is no asset with minor units."""
    return Refusal(
        RefusalCode.NOT_FOUND,
        f"{currency_code!r} is neither a currency of ISO 4217 with minor units nor a registered asset.",
        {"currency_code": currency_code},
    )


def statement_not_found(statement_id: str) -> Refusal:
    """A statement that does not exist."""
    detail = f"There is no statement {statement_id!r}."
    return Refusal(RefusalCode.NOT_FOUND, detail, {"statement_id": statement_id})


def unknown_source(name: str) -> Refusal:
    """A source of statements that nobody has saved."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is no source {name!r}; save it first.", {"source_name": name})


def nothing_of(what: str, name: str) -> Refusal:
    """Something that does not exist, or that the key may not see; `what` it would be."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is no {what} {name!r}.", {"id": name})


def line_too_long(max_bytes: int) -> Refusal:
    """A line of a stream that is longer than the API reads."""
    detail = f"The line is longer than {sized(max_bytes)} and was passed over."
    return Refusal(RefusalCode.PAYLOAD_TOO_LARGE, detail, {"max_bytes": max_bytes})


def unsupported_content_encoding(encoding: str) -> Refusal:
    """A compressed body."""
    detail = f"Content-Encoding {encoding!r} is not supported; send the body as it is."
    return Refusal(RefusalCode.UNSUPPORTED_CONTENT_ENCODING, detail, {"field": "Content-Encoding"})


def too_many_streams(max_streams: int) -> Refusal:
    """A stream that would be one too many for this process."""
    detail = f"This process serves {max_streams} streams already. Try again, or send batches."
    return Refusal(RefusalCode.TOO_MANY_STREAMS, detail, {"max_streams": max_streams})


def malformed_request(detail: str, **figures: object) -> Refusal:
    """A request that cannot be understood."""
    return Refusal(RefusalCode.MALFORMED_REQUEST, detail, figures)


def batch_too_large(payments: int, max_payments: int, stream_type: str) -> Refusal:
    """A batch with too many payments; `stream_type` is the media type of a stream, which has no limit."""
    return Refusal(
        RefusalCode.BATCH_TOO_LARGE,
        f"A batch has at most {max_payments} payments, this one has {payments}. Send several, or a stream of lines as "
        f"{stream_type}.",
        {"max_payments": max_payments, "payments": payments},
    )


def invalid_cursor(field: str, rule: str, *, known_as: str | None = None) -> Refusal:
    """A page parameter that breaks a rule; `rule` completes the sentence "`known_as`, or `field`, must …"."""
    return Refusal(RefusalCode.INVALID_CURSOR, f"{known_as or field} must {rule}.", {"field": field})


def amount_not_integer(message: str) -> Refusal:
    """An amount that is not a whole number; `message` names the field."""
    detail = f"Amounts are whole numbers of minor units. {message}"
    return Refusal(RefusalCode.AMOUNT_NOT_INTEGER, detail, {"field": "amount_minor"})


def amount_unreadable(message: str) -> Refusal:
    """An amount that no 64-bit integer can hold; `message` names the field."""
    return Refusal(RefusalCode.AMOUNT_OUT_OF_RANGE, message)


def nothing_here(path: str) -> Refusal:
    """A path that the API does not have."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is nothing at {path!r}; the reference lists what there is.")


def method_not_allowed(method: str, allowed: list[str]) -> Refusal:
    """A method that a path does not have; `allowed` are those that it has."""
    detail = f"{method} is not possible here; {', '.join(allowed)} would be."
    return Refusal(RefusalCode.METHOD_NOT_ALLOWED, detail, {"allowed": allowed})


def body_too_large(max_bytes: int) -> Refusal:
    """A body over the limit of its route."""
    detail = f"The body is longer than {sized(max_bytes)}, which is the most that this request takes."
    return Refusal(RefusalCode.PAYLOAD_TOO_LARGE, detail, {"max_bytes": max_bytes})


def body_cut_off() -> Refusal:
    """A body that ended before its end: the client has gone, or sent less than it said."""
    detail = "The body ended before it was complete; nothing was done. Send it again with the same external_id."
    return malformed_request(detail, field="body")


def body_too_slow(deadline_s: int) -> Refusal:
    """A body that did not arrive in time."""
    detail = f"The body did not arrive within {deadline_s} seconds; nothing was done."
    return Refusal(RefusalCode.REQUEST_TIMEOUT, detail)


def too_many_bodies() -> Refusal:
    """A body that would be one too many in memory."""
    detail = "This process holds as many bodies in memory as it may; nothing was done. Try again."
    return Refusal(RefusalCode.SERVER_BUSY, detail)
