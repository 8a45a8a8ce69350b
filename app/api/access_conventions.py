"""What the API reference says of keys: scopes, entities, expiry and rotation, rate limits."""

from collections.abc import Iterable

from app.domain.accounts import DEFAULT_ENTITY
from app.services.access.api_keys import BUNDLES, LONGEST_TRUST_S, RECHECK_S, Scope


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _bundles() -> str:
    """Which scopes include which others."""
    parts = [
        f"`{scope}` includes {_listed(sorted(included))}"
        for scope, included in BUNDLES.items()
        if included != frozenset(Scope)
    ]
    return "; ".join([*parts, f"`{Scope.ADMIN}` includes all"])


ACCESS = f"""\
**Authentication.** `Authorization: Bearer <key>` on every endpoint that names a scope. `python3 -m app keys create`
makes a key, and so does `POST /v1/keys` with a key that has the scope `{Scope.ADMIN}`.

**Scopes.** Each endpoint needs one. A key has one or more of {_listed(scope.value for scope in Scope)}. Some include
others: {_bundles()}. A key without `{Scope.ACCOUNTS_READ}` is told no balance by any answer but the reports.

**Entities.** A key may be bound to one or several entities. Nothing of any other entity exists for it: what an id names
there is answered as what does not exist, lists leave it out, and reports count only the key's own. To make something in
another entity is `forbidden`, and so are the endpoints about the whole installation (`GET /metrics`,
`POST /v1/assets`). Where a request names no entity, it is that of the key if it has only one, else `{DEFAULT_ENTITY}`.
The ids of accounts are unique in the whole installation, so a bound key can meet one that it cannot use: put the
entity into the ids. Ids of journals and refunds and the numbers in `ledger_transaction` are counted over all entities.

**Keys.** A key may expire; it shows to the minute when it was last used. `POST /v1/keys/{{key_id}}/rotate` makes its
successor, with the same rights and a life as long, while the key itself stays valid for `overlap_hours`. A revoked key
ends within a second, or within {RECHECK_S:.0f} if the cache does not answer; while the ledger cannot be reached, keys
that were in use stay valid for up to {LONGEST_TRUST_S / 60:.0f} minutes, but not past their expiry. `POST /v1/keys` is
not idempotent: if its answer was lost, revoke the key that `GET /v1/keys` shows, and make another.

**Rate limits.** A key may have a limit: requests a second, and how many at once. It counts for all processes together,
and a batch is one request. Answers tell it in `RateLimit-Policy` (`q` requests in a window of `w` seconds) and
`RateLimit` (`r` are left, after `t` seconds all are free again). Beyond it the answer is 429 `rate_limited` with
`Retry-After`, and nothing was done; retry with the same `external_id`.
"""
