"""The audit's records of what a drain posts, in COPY's binary format: one for each intent.

A record names the payment and says where it came from. What the payment says, and when it was posted, the ledger has.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from struct import Struct

from app.domain.audit import KEY_ACTOR, Action
from app.domain.ledger_rows import QueuedIntent, Rejection
from app.domain.origin import parse_origin
from app.domain.payment import Kind
from app.ledger.copy_format import EPOCH_US, NULL, SIGNATURE, TRAILER, EncodedTexts, encoded_text

COPY_CALLS = """
COPY audit_call (called_at, duration_us, status, payment_id, action, entity_id, key_id, actor, request_id, ip, method,
    route, code, account_id, external_id) FROM STDIN (FORMAT BINARY)
"""

_ACTION_AND_STATUS: dict[str, tuple[str, int | None]] = {
    Kind.PAYMENT.value: (Action.PAYMENT.value, 201),
    Kind.AUTHORIZATION.value: (Action.AUTHORIZATION.value, 201),
    Kind.CAPTURE.value: (Action.CAPTURE.value, 200),
    Kind.VOID.value: (Action.VOID.value, 200),
    Kind.EXPIRY.value: (Action.EXPIRY.value, None),
}
"""What an intent of each kind is recorded as, and what its call was answered with when it was accepted."""

_begins = Struct("!hiq").pack
"""Number of columns, called_at."""
_COLUMNS = 15
_big = Struct("!iq").pack
_small = Struct("!ih").pack
_length = Struct("!i").pack
_UNKNOWN_CALL = NULL * 4
"""request_id, ip, method and route of what comes from no call."""


def calls_copy(
    posted: Iterable[QueuedIntent],
    rejections: Iterable[Rejection],
    duplicates: Iterable[QueuedIntent],
    now_ms: int,
) -> bytes:
    """The records of a batch in the format that COPY_CALLS reads; `now_ms` is the time of posting, since 1970 UTC."""
    rows = _Rows(now_ms)
    parts = [SIGNATURE]
    for queued in posted:
        parts += rows.of(queued)
    for one in rejections:
        if one.queued.intent.kind != Kind.JOURNAL_HOLD:  # no call of its own: its journal's caller was answered
            parts += rows.of(one.queued, Action.REJECTION.value, one.refusal.code.value)
    for queued in duplicates:
        parts += rows.of(queued, Action.DUPLICATE.value)
    parts.append(TRAILER)
    return b"".join(parts)


def origins_of(posted: Iterable[QueuedIntent]) -> list[str]:
    """Where intents come from, as they brought it along."""
    return [one.intent.origin for one in posted if one.intent.origin is not None]


class _Rows:
    """Encodes the records of one batch; what many of them share is encoded once."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._known = EncodedTexts()
        self._addresses: dict[str, bytes] = {"": NULL}
        self._operations: dict[str, bytes] = {}

    def of(self, queued: QueuedIntent, action: str = "", code: str | None = None) -> Iterator[bytes]:
        """One record; `action` and `code` where the ledger has not done what was asked for."""
        intent, known = queued.intent, self._known
        usual_action, status = _ACTION_AND_STATUS[intent.kind]
        accepted_at_ms = queued.outbox_position.accepted_at_ms(self._now_ms)
        called_at_ms, call = accepted_at_ms, _UNKNOWN_CALL
        if intent.origin is not None:
            called_at_ms, ip, request_id, operation = parse_origin(intent.origin)
            call = encoded_text(request_id) + self._address(ip) + self._operation(operation)
        key_id, actor = _key_and_actor(intent.actor)
        yield _begins(_COLUMNS, 8, 1_000 * called_at_ms - EPOCH_US)
        yield _big(8, max(0, 1_000 * (accepted_at_ms - called_at_ms)))
        yield NULL if status is None else _small(2, status)
        yield encoded_text(queued.payment_id if not action else queued.outbox_position.payment_id)
        yield known[action or usual_action]
        yield known[intent.entity_id]
        yield known[key_id]
        yield known[actor]
        yield call
        yield known[code]
        yield known[intent.guarded_account_id] if action else NULL
        yield encoded_text(intent.external_id) if action else NULL

    def _address(self, ip: str) -> bytes:
        """An IP address as Postgres keeps it: family, length of the prefix, whether it is a network, its bytes."""
        found = self._addresses.get(ip)
        if found is None:
            address = ip_address(ip)
            packed = address.packed
            family = 2 if address.version == 4 else 3
            found = _length(4 + len(packed)) + bytes((family, 8 * len(packed), 0, len(packed))) + packed
            self._addresses[ip] = found
        return found

    def _operation(self, operation: str) -> bytes:
        found = self._operations.get(operation)
        if found is None:
            method, _, route = operation.partition(" ")
            found = self._operations[operation] = self._known[method or None] + self._known[route or None]
        return found


def _key_and_actor(actor: str) -> tuple[str | None, str | None]:
    """The id of the key that an actor stands for, or the actor where it is none."""
    return (actor[len(KEY_ACTOR) :], None) if actor.startswith(KEY_ACTOR) else (None, actor)
