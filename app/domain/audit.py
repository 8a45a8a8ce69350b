"""What the audit keeps of calls: the record, what changes are called, and bodies as bounded text without secrets."""

import re
from dataclasses import dataclass
from enum import StrEnum

from app.domain.origin import LARGEST_BODY


class Action(StrEnum):
    """What a recorded call has changed, or what the audit says of itself."""

    PAYMENT = "payment"
    AUTHORIZATION = "authorization"
    CAPTURE = "capture"
    VOID = "void"
    EXPIRY = "expiry"
    REJECTION = "payment.rejection"
    DUPLICATE = "payment.duplicate"
    JOURNAL = "journal"
    REVERSAL = "reversal"
    REFUND = "refund"
    JOURNAL_PROPOSE = "journal.propose"
    JOURNAL_RETURN = "journal.return"
    JOURNAL_WITHDRAW = "journal.withdraw"
    JOURNAL_TEMPLATE = "journal.template"
    ACCOUNT_CREATE = "account.create"
    ACCOUNT_CHANGE = "account.change"
    FLOOR_RECOVERY = "account.floor.recovery"
    ASSET_REGISTER = "asset.register"
    STATEMENT_SOURCE = "statement.source"
    STATEMENT_IMPORT = "statement.import"
    MATCHING_SETUP = "matching.setup"
    MATCH_RUN = "match.run"
    MATCH = "match.make"
    MATCH_CONFIRM = "match.confirm"
    MATCH_UNDO = "match.undo"
    SIGN_OFF = "statement.sign_off"
    SIGN_OFF_REOPEN = "statement.reopen"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    KEY_ROTATE = "key.rotate"
    WEBHOOK_CREATE = "webhook.create"
    WEBHOOK_CHANGE = "webhook.change"
    WEBHOOK_ROTATE = "webhook.rotate"
    WEBHOOK_RESEND = "webhook.resend"
    MONITOR_CREATE = "monitor.create"
    MONITOR_END = "monitor.end"
    USER_INVITE = "user.invite"
    USER_DISABLE = "user.disable"
    SIGN_IN_SET_UP = "sign_in.set_up"
    """Somebody took up an invitation."""
    SIGN_IN = "sign_in.begin"
    SIGN_OUT = "sign_in.end"
    SIGN_OUT_EVERYWHERE = "sign_in.end_all"
    LOCK_OUT = "sign_in.locked_out"
    """Somebody must wait before the next try under a user's name."""
    SECOND_FACTOR_BEGIN = "sign_in.second_factor.begin"
    SECOND_FACTOR_END = "sign_in.second_factor.end"
    CACHE_REPAIR = "cache.repair"
    BREAK_CHANGE = "break.change"
    RECONCILIATION_REQUEST = "reconciliation.request"
    """Somebody asked for a run, or for the repair of an account in the cache."""
    COUNTED = "audit.counted"
    """Calls beyond what is kept one by one: only counted, per key, IP address and code."""
    GAP = "audit.gap"
    """Calls whose records are lost."""
    MONTH_DROP = "audit.month.drop"
    RETENTION_CHANGE = "audit.retention.change"


POSTED_BY_DRAINS = frozenset({Action.PAYMENT, Action.AUTHORIZATION, Action.CAPTURE, Action.VOID, Action.EXPIRY})
"""Whose records a drain writes, in the transaction that posts."""


@dataclass(slots=True)
class CallRecord:
    """One record, as it is written. Times in ms since 1970 UTC; `duration_us` in microseconds."""

    called_at_ms: int
    request_id: str | None = None
    action: str | None = None
    actor: str | None = None
    key_id: str | None = None
    entity_id: str | None = None
    ip: str | None = None
    method: str | None = None
    route: str | None = None
    path: str | None = None
    status: int | None = None
    code: str | None = None
    duration_us: int | None = None
    account_id: str | None = None
    payment_id: str | None = None
    external_id: str | None = None
    request: str | None = None
    request_bytes: int | None = None
    response: str | None = None
    response_bytes: int | None = None
    calls: int = 1


_SECRET_ENDINGS = ("secret", "password", "passphrase", "token", "credential", "private_key")
_SECRET_NAMES = ("api_key", "apikey", "key", "authorization")
_SECRET_MEMBER = re.compile(
    rf'("(?:[a-z0-9_-]*(?:{"|".join(_SECRET_ENDINGS)})|{"|".join(_SECRET_NAMES)})"\s*:\s*)'
    r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)',
    re.IGNORECASE | re.DOTALL,
)
_API_KEY = re.compile(r"hf_[0-9A-Za-z]+_[0-9A-Za-z_-]+")
_ISSUED_KEY = re.compile(r"hf_[0-9a-f]{12}_[0-9A-Za-z_-]+")
"""A key exactly as one is made: an account may well be called `hf_fees_eur`."""
REDACTED = "[redacted]"
_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
_LONGEST_NAME = 256
"""Characters of an id; a longer one is no id of ours. An index takes no more than some 2,700 bytes."""

_LONGEST_PATH = 2_048
"""Characters of a path with its query; what is longer is cut."""


def without_secrets(text: str) -> str:
    """A text in which API keys, and members of JSON that are named like a secret, are replaced."""
    if _may_name_a_secret(text):
        text = _SECRET_MEMBER.sub(rf'\1"{REDACTED}"', text)
    return _API_KEY.sub(REDACTED, text)


def _may_name_a_secret(text: str) -> bool:
    """Whether the search for members is due: it takes half a millisecond a body, and finds nothing in most."""
    lowered = text.lower()
    return not text.isascii() or any(name in lowered for name in (*_SECRET_ENDINGS, *_SECRET_NAMES))


def bounded_text(body: bytes) -> str | None:
    """The beginning of a body as text that the ledger can keep, without secrets; None for an empty one.

    What is not UTF-8 is written as `\\xNN`, like NUL.
    """
    if not body:
        return None
    text = without_secrets(_decoded(body[: LARGEST_BODY + 1_024]))
    encoded = text.encode()
    return text if len(encoded) <= LARGEST_BODY else encoded[:LARGEST_BODY].decode(errors="ignore")


def bounded_path(path: str | None) -> str | None:
    """A path with its query, without secrets."""
    return None if path is None else _storable(without_secrets(path[:_LONGEST_PATH]))


def _decoded(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        # Only the last character may have been cut in two; anything else was not UTF-8 when it came.
        cut = error.start if len(raw) - error.start < 4 and error.reason == "unexpected end of data" else len(raw)
        text = raw[:cut].decode(errors="backslashreplace")
    return _storable(text)


def storable(name: str | None) -> str | None:
    """A name that somebody sent, as the ledger can keep and index it; an API key that was sent as one is replaced."""
    return None if name is None else _storable(_ISSUED_KEY.sub(REDACTED, name[:_LONGEST_NAME]))


def _storable(text: str) -> str:
    """A text without what Postgres cannot keep: NUL, and halves of surrogate pairs."""
    return _NOT_STORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}" if ord(found[0]) else "\\x00", text)
