"""What holds for every route: in `docs/API.md` and on the page at `/v1/reference`, one paragraph each.

A paragraph begins with its name in bold. Figures come from the constants that the code checks.
"""

from collections.abc import Iterable

from app.api.access_conventions import ACCESS
from app.api.fields import LARGEST_METADATA
from app.api.json_body import DEEPEST_METADATA
from app.api.parameters import DEFAULT_PAGE, LONGEST_PAGE, LONGEST_WAIT_S
from app.api.responses import RETRY_AFTER_S
from app.api.routes import LARGEST_BODY
from app.domain.accounts import MAX_ID_LENGTH, RESERVED_ENDINGS
from app.domain.money import MAX_MINOR
from app.domain.read_models import Durability
from app.domain.wording import sized
from app.services.proofs.readiness import DURABILITY


def listed(values: Iterable[str]) -> str:
    """Words as code, with commas."""
    return ", ".join(f"`{value}`" for value in values)


CONVENTIONS = f"""\
**Content.** Requests and answers are JSON in UTF-8. Unknown fields and unknown query parameters
are refused by name: a misspelt filter must not widen an answer. A body has at most {sized(LARGEST_BODY)}; `metadata`
at most {sized(LARGEST_METADATA)}, and {DEEPEST_METADATA} levels. A NUL character is refused everywhere.
Values in `metadata` come back as they were sent. A number with a fraction or an exponent that a double does not hold
exactly, or from 2^53 on, is refused: send it as a string. `1E5` comes back as `100000.0`.

**Clients.** `clients/python` and `clients/typescript` are ours. openapi-python-client makes another for Python, and
openapi-typescript, with openapi-fetch, one for TypeScript; `tests/system/clients` has a program with each. The answers
of an operation name the codes of its refusals in `x-codes`.

**Money.** Amounts are whole numbers of minor units, written without a fraction (`1.0` is refused); the names of their
fields end in `_minor`. The largest is
{MAX_MINOR:,} (2^53 − 1): up to it every client counts exactly. Nothing is rounded; more is refused.

**Identifiers.** Ids have 1 to {MAX_ID_LENGTH} printable characters and no white space at their ends, in
Unicode Normalization Form C: `é` in another form looks the same and would be another id, so it is refused as
`invalid_id`. In a path they are
percent-encoded. The id of an account ends in none of {listed(RESERVED_ENDINGS)}, which follow ids in paths; and
between slashes it has no empty segment, `.` or `..`, because proxies and clients rewrite those. An account that has
such an id, or a decomposed one, from before these rules can still be used. Percent-encode its id, `/` as `%2F`, and ask
the server itself with a client that leaves dots alone (`curl --path-as-is`); `GET /v1/accounts` lists it.

**Times.** RFC 3339, in answers always UTC with milliseconds. A time in a request needs an offset. It is kept to the
microsecond; further digits are cut, and so are the microseconds in answers: no time is ever rounded up.

{ACCESS}
**Idempotency.** `external_id` is the idempotency key of a payment. Within an entity it posts at most once, for ever.
The same `external_id` with the same content is a replay: 200 in place of 201, the acknowledgement as first given, and
the header `Idempotent-Replayed: true`. With other content it is refused as `external_id_reused`, which names the field
that differs. A refusal for lack of funds is recorded too: within the idempotency window a retry gets the same answer
even if funds have come since, so a new attempt needs a new `external_id`. Only a refusal that open authorizations of
the account explain is `retryable` and not recorded: the same `external_id` may succeed once they are voided, expire, or
are captured in part. `expected_version` is a precondition and not
content: a version conflict is not recorded, so send the same `external_id` with the new version. After the window only
the ledger knows an `external_id`: a repeat is acknowledged as pending, and the ledger answers it with the original.

**Status.** A payment is `pending` when it is accepted: the funds are held and the intent is recorded in the cache. It
is `posted` when it is in the ledger, or `rejected` when the ledger refused it, with the reason. `durability` says what
the present status survives: `{Durability.LEDGER}` for a posted payment, and for a pending one, by the setting of the
cache, {listed(DURABILITY.values())}.

**Waiting.** With `Prefer: wait=N` (RFC 7240) a payment is answered when the ledger has answered, or as pending after N
seconds; if the ledger rejects it, with the refusal. N is cut to {LONGEST_WAIT_S:.0f}; `Preference-Applied` says what
was applied. A replay with `Prefer: wait` tells the present status in place of the first one. Each API process has a
bounded number of places for waiters; when they are taken, the acknowledgement is the answer, at once and without
`Preference-Applied`.

**Freezing, cutting, closing.** A freeze bars new movements of its side: payments, authorizations, refunds, journals,
reversals. What was acknowledged before it is kept: a pending payment posts, and an authorization can still be captured,
voided, or left to expire. A limit is never set below what open authorizations need to be captured, not even with
`force`; and an account with an open authorization on either side does not close. Void them first where a freeze must
stop them too.

**Optimistic concurrency.** A balance has a `version`, which is also its `ETag`. Send it with a payment as
`expected_version`, or as `If-Match`. If the guarded account has changed since, the answer is 409
`optimistic_lock_conflict` with the current version. `If-None-Match` on a balance answers 304 while it is current.

**Paging.** Lists answer `{{"data": [...], "next": cursor or null}}`. `?limit=` is 1 to {LONGEST_PAGE:,}, by default
{DEFAULT_PAGE}; `?after=` takes the cursor from `next`.

**Refusals.** Errors are problem documents (RFC 9457, `application/problem+json`) with a stable `code`, `retryable`, and
the figures that explain them. `retryable: true` means that the same request may succeed later; a payment that is sent
again keeps its `external_id`. A 503 has the header `Retry-After: {RETRY_AFTER_S}`, and that of a 429 says how long to
wait. `outcome_unknown` is not a failure: the cache did not answer in time, and only a repeat with the same
`external_id` tells what happened.
"""
