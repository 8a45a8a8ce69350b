"""The headers of answers, each declared once, for the OpenAPI document."""

from app.api.routes import AnswerHeader

LOCATION = AnswerHeader(
    "Location", "Where it can be read; none in a dry run.", {"type": "string", "format": "uri-reference"}
)
ETAG = AnswerHeader("ETag", "The version of what is answered, for If-Match and If-None-Match.")
IDEMPOTENT_REPLAYED = AnswerHeader(
    "Idempotent-Replayed",
    "`true`: the recorded answer to an earlier request with the same external_id.",
    {"type": "string", "enum": ["true"]},
)
PREFERENCE_APPLIED = AnswerHeader("Preference-Applied", "`wait=N`: how long the answer could wait, in seconds.")
RETRY_AFTER = AnswerHeader("Retry-After", "Seconds until a retry makes sense.", {"type": "integer", "minimum": 0})
WWW_AUTHENTICATE = AnswerHeader("WWW-Authenticate", "How to send an API key.")
ALLOW = AnswerHeader("Allow", "The methods of the path.")
RATE_LIMIT_POLICY = AnswerHeader(
    "RateLimit-Policy", "Of a key with a rate limit: `q` requests in a window of `w` seconds."
)
RATE_LIMIT = AnswerHeader(
    "RateLimit", "Of a key with a rate limit: `r` requests are left; after `t` seconds all are free again."
)
CACHE_CONTROL = AnswerHeader("Cache-Control", "`no-store`: the answer holds a secret.")

ALL = (
    LOCATION,
    ETAG,
    IDEMPOTENT_REPLAYED,
    PREFERENCE_APPLIED,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    ALLOW,
    RATE_LIMIT_POLICY,
    RATE_LIMIT,
    CACHE_CONTROL,
)
