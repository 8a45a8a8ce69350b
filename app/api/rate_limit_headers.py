"""Rate limits: counting a request of a key that has one, and the header fields that tell what is left.

The fields are those of the Internet-Draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers):
`q` requests in a window of `w` seconds; `r` are left, and after `t` seconds all are free again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api.responses import Refused
from app.domain.access_refusals import rate_limited
from app.domain.rate_limits import Allowance, RateLimit
from app.services.access.api_keys import Caller

if TYPE_CHECKING:
    from app.cache.rate_limits import RateLimits

POLICY = '"requests"'
"""The name of the only policy: requests of one key."""


def take_request(rate_limits: RateLimits, caller: Caller) -> list[tuple[str, str]]:
    """Take one request of a caller who has a limit, and return the header fields; raises Refused beyond the limit."""
    assert caller.limit is not None
    left = rate_limits.take(caller.key_id, caller.limit)
    headers = limit_headers(caller.limit, left)
    if not left.is_allowed:
        refused = Refused(rate_limited(caller.limit, left))
        refused.headers += headers
        raise refused
    return headers


def limit_headers(limit: RateLimit, left: Allowance) -> list[tuple[str, str]]:
    """The header fields that tell a limit and what is left of it."""
    return [
        ("ratelimit-policy", f"{POLICY};q={limit.burst};w={limit.window_s}"),
        ("ratelimit", f"{POLICY};r={left.remaining};t={left.full_in_s}"),
    ]
