"""The audit: every call of the API, and every change, by time. Only keys that may read it see it."""

from collections.abc import Iterator
from dataclasses import asdict
from ipaddress import ip_network
from typing import Annotated, Any

import msgspec
from msgspec import Struct

from app.api.context import ApiServices
from app.api.entity_binding import visible_account
from app.api.fields import MOMENT_SCHEMA, Moment, number_of, one_of
from app.api.json_body import NO_NUL, malformed
from app.api.parameters import LIMIT, any_text, instant
from app.api.payment_views import payment_body
from app.api.request_refusals import invalid_cursor, nothing_here
from app.api.responses import Answer, Refused, json_answer, page_answer, problem
from app.api.routes import Call, Parameter, Routes, Text
from app.domain.audit import POSTED_BY_DRAINS, Action
from app.domain.audit_reads import AUDIT_ID_PATTERN, AuditEntry, AuditFilter, AuditPlace, parse_audit_id
from app.domain.csv_export import Value, csv_lines
from app.domain.refusals import RefusalCode
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

AUDIT_SCOPE = Scope.AUDIT_READ
"""What a key needs to read the audit."""

CSV = "text/csv; charset=utf-8"

EXPORTED_AT_ONCE = 1_000
"""Records of an export that are read together."""

routes = Routes()


class AuditBody(Struct):
    """One record: a call of the API, or a change by a command or by the clock.

    `action` is what was changed, null where nothing was. `duration_us` is the time until the answer, in microseconds;
    of a change, until it was recorded or accepted. `calls` is more than 1 where calls were only counted.
    """

    audit_id: str
    called_at: Moment
    recorded_at: Moment
    request_id: str | None
    action: Annotated[str, one_of([one.value for one in Action])] | None
    actor: str | None
    key_id: str | None
    entity_id: str | None
    ip: str | None
    method: str | None
    route: str | None
    path: str | None
    status: int | None
    code: Annotated[str, one_of([one.value for one in RefusalCode])] | None
    duration_us: int | None
    account_id: str | None
    payment_id: str | None
    external_id: str | None
    calls: int


class AuditDetail(AuditBody):
    """A record with request and answer: up to 8 KiB of each, secrets redacted, what is not UTF-8 escaped.

    Their whole lengths are in bytes. Of a payment, the answer is what the ledger says of it now, and the request is not
    repeated: the ledger has all of it.
    """

    request: str | None
    request_bytes: int | None
    response: str | None
    response_bytes: int | None


def _place(text: str) -> AuditPlace:
    place = parse_audit_id(text)
    if place is None:
        raise Refused(invalid_cursor("after", "be a cursor from `next`"))
    return place


def _status(text: str) -> int:
    found = number_of(text, 3)
    if found is None or len(text) < 3:
        raise malformed("status must be an HTTP status, such as 201.", field="status")
    return found


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise malformed("ip must be an address or a network, such as 10.0.0.0/8.", field="ip") from None


_TEXT = {"type": "string", "pattern": NO_NUL}
_STATUS = {"type": "integer", "minimum": 100, "maximum": 999}
_ADDRESS = {
    "anyOf": [
        {"type": "string", "format": "ipv4"},
        {"type": "string", "format": "ipv6"},
        {"type": "string", "pattern": "^([1-9]?[0-9]\\.){3}[1-9]?[0-9]/([12]?[0-9]|3[0-2])$"},
    ]
}


def _text_parameter(name: str, description: str) -> Parameter[Any]:
    return Parameter(name, any_text, None, _TEXT, description)


AFTER: Parameter[AuditPlace | None] = Parameter(
    "after",
    _place,
    None,
    {"type": "string", "pattern": f"^{AUDIT_ID_PATTERN}$"},
    "The cursor from `next`.",
    refuses=(RefusalCode.INVALID_CURSOR,),
)
FILTERS: dict[str, Parameter[Any]] = {
    "from_time": Parameter("from", instant("from"), None, MOMENT_SCHEMA, "Calls that came at this instant or later."),
    "to_time": Parameter("to", instant("to"), None, MOMENT_SCHEMA, "Calls that came before this instant."),
    "key_id": _text_parameter("key_id", "The API key, by its id."),
    "actor": _text_parameter("actor", "Who: `key:` and an id, or what else the ledger records."),
    "ip": Parameter("ip", _network, None, _ADDRESS, "An IP address, or a network."),
    "method": Parameter("method", str.upper, None, _TEXT, "The HTTP method, in any case."),
    "route": _text_parameter("route", "The path as this document writes it: `/v1/payments/{payment_id}`."),
    "status": Parameter("status", _status, None, _STATUS, "The HTTP status."),
    "code": _text_parameter("code", "The code of the problem."),
    "action": _text_parameter("action", "What was changed: `payment`, `account.change` and so on."),
    "request_id": _text_parameter("request_id", "X-Request-Id of the answer."),
    "account_id": _text_parameter("account_id", "Calls about an account, and payments of it that are posted or held."),
    "payment_id": _text_parameter("payment_id", "The payment, journal or refund."),
    "external_id": _text_parameter("external_id", "The external id, in the entity `entity_id`, else in `default`."),
    "entity_id": _text_parameter("entity_id", "The entity."),
}
"""By field of AuditFilter."""


def _wanted(call: Call[None]) -> AuditFilter:
    asked = {field: call[parameter] for field, parameter in FILTERS.items()}
    asked["account_id"] = visible_account(call, asked["account_id"])
    return AuditFilter(**asked, entities=call.entities)


@routes.add(
    "GET",
    "/v1/audit",
    "List the records of the audit, the oldest first",
    scope=AUDIT_SCOPE,
    answers={200: AuditBody},
    parameters=(LIMIT, AFTER, *FILTERS.values()),
    paged=True,
    keeps_answer=False,
)
def list_audit(call: Call[None]) -> Answer:
    """One page of records."""
    limit = call[LIMIT]
    found = call.here.audit.page(_wanted(call), limit=limit, after=call[AFTER])
    cursor = found[-1].place.audit_id if found else None
    return page_answer([AuditBody(**members_of(one)) for one in found], limit, cursor)


@routes.add(
    "GET",
    "/v1/audit.csv",
    "Export the records of the audit as CSV (RFC 4180, UTF-8), the oldest first, however many there are",
    scope=AUDIT_SCOPE,
    answers={200: Text(CSV)},
    parameters=tuple(FILTERS.values()),
    keeps_answer=False,
)
def export_audit(call: Call[None]) -> Answer:
    """All records, streamed."""
    wanted = _wanted(call)
    first = call.here.audit.page(wanted, limit=EXPORTED_AT_ONCE, after=None)  # a fault is answered, not cut off

    def rows() -> Iterator[list[Value]]:
        page = first
        while page:
            for one in page:
                yield list(members_of(one).values())
            more = len(page) == EXPORTED_AT_ONCE
            page = call.here.audit.page(wanted, limit=EXPORTED_AT_ONCE, after=page[-1].place) if more else []

    headers = [("content-type", CSV), ("content-disposition", 'attachment; filename="audit.csv"')]
    return Answer(200, csv_lines(AuditBody.__struct_fields__, rows()), headers)


@routes.add(
    "GET",
    "/v1/audit/{audit_id}",
    "Read one record of the audit, with request and answer",
    scope=AUDIT_SCOPE,
    answers={200: AuditDetail},
    refuses=frozenset({RefusalCode.NOT_FOUND}),
    keeps_answer=False,
)
def get_audit(call: Call[None]) -> Answer:
    """One record."""
    place = parse_audit_id(call.path["audit_id"])
    found = None if place is None else call.here.audit.get(place, call.entities)
    if found is None:
        return problem(nothing_here(f"/v1/audit/{call.path['audit_id']}"))
    response, response_bytes = answer_of(call.here, found, may_read=call.may_read)
    members = members_of(found) | {"request": found.request, "request_bytes": found.request_bytes}
    return json_answer(AuditDetail(**members, response=response, response_bytes=response_bytes))


def answer_of(here: ApiServices, one: AuditEntry, *, may_read: bool) -> tuple[str | None, int | None]:
    """The answer that a record keeps, and its length in bytes; of a payment, what the ledger says of it now."""
    if one.action not in POSTED_BY_DRAINS or not one.payment_id:
        return one.response, one.response_bytes
    found = here.finder.find(one.payment_id)
    if found is None:
        return None, None
    body = payment_body(found, one.payment_id, here.readiness.durability, here.now(), may_read=may_read)
    encoded = msgspec.json.encode(body)
    return encoded.decode(), len(encoded)


def members_of(one: AuditEntry) -> dict[str, Any]:
    """The members of a record, in order."""
    members = {"audit_id": one.place.audit_id, **asdict(one)}
    members |= {"called_at": rfc3339(one.called_at), "recorded_at": rfc3339(one.recorded_at), "path": _path(one)}
    return {name: members[name] for name in AuditBody.__struct_fields__}


def _path(one: AuditEntry) -> str | None:
    """The path of a call; of a payment it follows from the route."""
    if one.path is not None or one.route is None or one.payment_id is None:
        return one.path
    head, brace, tail = one.route.partition("{")
    return one.route if not brace else f"{head}{one.payment_id}{tail.partition('}')[2]}"
