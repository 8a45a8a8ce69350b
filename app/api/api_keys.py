"""API keys over HTTP, for keys with the scope `admin`: make, list, read, revoke and rotate them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from app.api.fields import Id, Moment, one_of
from app.api.json_body import NO_NUL, RequestObject, malformed
from app.api.parameters import AFTER, CACHE_CONTROL, LIMIT, LOCATION, in_utc
from app.api.responses import Answer, Refused, json_answer, page_answer, problem
from app.api.routes import Body, Call, Routes
from app.domain.api_keys import NewKey, PresentedKey, parse_key
from app.domain.payment_checks import refuse_id
from app.domain.payment_refusals import expiry_not_allowed
from app.domain.rate_limits import LARGEST_BURST, MOST_PER_SECOND, RateLimit
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope
from app.services.access.key_administration import DEFAULT_OVERLAP_H, LONGEST_OVERLAP_H, IssuedKey

if TYPE_CHECKING:
    from app.ledger.api_keys import StoredKey

routes = Routes()

MOST_ENTITIES = 100
"""Entities of one key; a key for more is better bound to none."""

NOT_STORED = ("cache-control", "no-store")
"""An answer with a secret must stay in no cache on its way."""

KeyName = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": NO_NUL})]
ScopeName = Annotated[str, one_of([scope.value for scope in Scope])]


class RateLimitBody(RequestObject):
    """How many requests a key may make: so many a second for long, and up to `burst` at once.

    A batch and a stream are one request.
    """

    requests_per_second: Annotated[int, Meta(ge=1, le=MOST_PER_SECOND)]
    burst: Annotated[int, Meta(ge=1, le=LARGEST_BURST)]


class NewKeyBody(RequestObject):
    """A key to make. Without `entities` it reaches those of the key that makes it; that may be all of them.

    A key of some entities sees nothing of any other. `expires_at` is null for a key that does not expire.
    """

    name: KeyName
    scopes: Annotated[list[ScopeName], Meta(min_length=1)]
    entities: Annotated[list[Id], Meta(min_length=1, max_length=MOST_ENTITIES)] | None = None
    expires_at: Moment | None = None
    rate_limit: RateLimitBody | None = None


class NewRotation(RequestObject):
    """How long the rotated key stays valid beside its successor; with 0 it ends at once."""

    overlap_hours: Annotated[int, Meta(ge=0, le=LONGEST_OVERLAP_H)] = DEFAULT_OVERLAP_H


class KeyBody(Struct):
    """An API key without its secret. `entities` is null for a key that may act for all; `last_used_at` is exact to the
    minute; `status` is active, expired or revoked."""

    key_id: str
    name: str
    status: Annotated[str, one_of(("active", "expired", "revoked"))]
    scopes: list[str]
    entities: list[str] | None
    rate_limit: RateLimitBody | None
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None
    rotated_from: str | None


class IssuedKeyBody(KeyBody):
    """A new API key. `key` is its only copy: it is shown once, and the ledger keeps a hash of its secret."""

    key: str


@routes.add(
    "POST",
    "/v1/keys",
    "Make an API key; the answer is the only copy of its secret",
    scope=Scope.ADMIN,
    body=Body(NewKeyBody),
    answers={201: IssuedKeyBody},
    sends=(LOCATION, CACHE_CONTROL),
    refuses=frozenset({Code.INVALID_ID, Code.EXPIRY_NOT_ALLOWED}),
)
def create_key(call: Call[NewKeyBody]) -> Answer:
    """Make a key."""
    return _issued(call.here.keys.create(_wanted(call), _presented(call)))


def _wanted(call: Call[NewKeyBody]) -> NewKey:
    body = call.body
    for scope in body.scopes:
        if scope not in Scope.__members__.values():
            raise malformed(f"There is no scope {scope!r}.", field="scopes")
    for entity_id in body.entities or ():
        if refusal := refuse_id("entities", entity_id):
            raise Refused(refusal)
    expires_at = in_utc(body.expires_at, "expires_at")
    if expires_at is not None and expires_at <= call.here.now():
        raise Refused(expiry_not_allowed("expires_at must lie in the future.", field="expires_at"))
    limit = body.rate_limit
    return NewKey(
        name=body.name,
        scopes=sorted(set(body.scopes)),
        entities=call.entities if body.entities is None else frozenset(body.entities),
        expires_at=expires_at,
        limit=None if limit is None else RateLimit(limit.requests_per_second, limit.burst),
    )


@routes.add(
    "GET",
    "/v1/keys",
    "List API keys, without their secrets",
    scope=Scope.ADMIN,
    answers={200: KeyBody},
    parameters=(LIMIT, AFTER),
    paged=True,
)
def list_keys(call: Call[None]) -> Answer:
    """One page of keys, by id."""
    limit = call[LIMIT]
    found = call.here.keys.page(limit=limit, after=call[AFTER], entities=call.entities)
    return page_answer([KeyBody(**_fields(key)) for key in found], limit, found[-1].key_id if found else None)


@routes.add(
    "GET",
    "/v1/keys/{key_id}",
    "Read an API key",
    scope=Scope.ADMIN,
    answers={200: KeyBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_key(call: Call[None]) -> Answer:
    """One key."""
    return _shown(call.here.keys.get(call.path["key_id"], call.entities))


@routes.add(
    "DELETE",
    "/v1/keys/{key_id}",
    "Revoke an API key: it ends in every process within a second; the same again answers the same",
    scope=Scope.ADMIN,
    answers={200: KeyBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def revoke_key(call: Call[None]) -> Answer:
    """End a key."""
    return _shown(call.here.keys.revoke(call.path["key_id"], _presented(call)))


@routes.add(
    "POST",
    "/v1/keys/{key_id}/rotate",
    "Make the successor of an API key, with the same rights; the key itself stays valid for a while",
    scope=Scope.ADMIN,
    body=Body(NewRotation, optional=True),
    answers={201: IssuedKeyBody},
    sends=(LOCATION, CACHE_CONTROL),
    refuses=frozenset({Code.NOT_FOUND, Code.KEY_NOT_ROTATABLE}),
)
def rotate_key(call: Call[NewRotation]) -> Answer:
    """Rotate a key."""
    overlap = timedelta(hours=call.body.overlap_hours)
    return _issued(call.here.keys.rotate(call.path["key_id"], overlap, _presented(call)))


def _presented(call: Call[Any]) -> PresentedKey:
    """The key that asks, with its secret: the ledger checks by itself that it may administer keys."""
    presented = parse_key(call.key)
    assert presented is not None
    return presented


def _shown(outcome: StoredKey | Refusal) -> Answer:
    return problem(outcome) if isinstance(outcome, Refusal) else json_answer(KeyBody(**_fields(outcome)))


def _issued(outcome: IssuedKey | Refusal) -> Answer:
    if isinstance(outcome, Refusal):
        return problem(outcome)
    body = IssuedKeyBody(key=outcome.key, **_fields(outcome.stored))
    return json_answer(body, 201, ("location", f"/v1/keys/{outcome.stored.key_id}"), NOT_STORED)


def _fields(key: StoredKey) -> dict[str, Any]:
    moments = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        "key_id": key.key_id,
        "name": key.name,
        "status": key.status,
        "scopes": sorted(key.scopes),
        "entities": None if key.entities is None else sorted(key.entities),
        "rate_limit": None if key.limit is None else RateLimitBody(key.limit.per_second, key.limit.burst),
        "rotated_from": key.rotated_from,
        **{name: None if moment is None else rfc3339(moment) for name, moment in moments.items()},
    }
