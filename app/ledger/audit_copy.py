"""The audit's records of what a drain posts, in COPY's binary format: one for each intent.

A record names the payment and says where it came from. What the payment says, and when it was posted, the ledger has.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from struct import Struct

from app.domain.actors import KEY_ACTOR
from app.domain.audit import Action
from app.domain.ledger_rows import QueuedIntent, Rejection
from app.domain.origin import parse_origin
from app.domain.payment import Intent, Kind
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

_begins = Struct("!hiqiq").pack
"""Number of columns, called_at, duration_us."""
_COLUMNS = 15
_small = Struct("!ih").pack
_length = Struct("!i").pack
_UNKNOWN_CALL = NULL * 4
"""request_id, ip, method and route of what comes from no call."""
_DONE = NULL * 3
"""code, account_id and external_id of what the ledger has done: its payment names them."""


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
        parts.append(rows.of(queued))
    for one in rejections:
        if one.queued.intent.kind != Kind.JOURNAL_HOLD:  # no call of its own: its journal's caller was answered
            parts.append(rows.of(one.queued, Action.REJECTION.value, one.refusal.code.value))
    for queued in duplicates:
        parts.append(rows.of(queued, Action.DUPLICATE.value))
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
        self._calls: dict[str, tuple[int, bytes]] = {}
        self._deeds: dict[tuple[str, str, str], bytes] = {}

    def of(self, queued: QueuedIntent, action: str = "", code: str | None = None) -> bytes:
        """One record; `action` and `code` where the ledger has not done what was asked for."""
        intent, position = queued.intent, queued.outbox_position
        usual_action, status = _ACTION_AND_STATUS[intent.kind]
        accepted_at_ms = position.accepted_at_ms(self._now_ms)
        called_at_ms, call = accepted_at_ms, _UNKNOWN_CALL
        if intent.origin is not None:
            called_at_ms, call = self._call(intent.origin)
        waited_us = max(0, 1_000 * (accepted_at_ms - called_at_ms))
        begins = _begins(_COLUMNS, 8, 1_000 * called_at_ms - EPOCH_US, 8, waited_us)
        answered = NULL if status is None else _small(2, status)
        payment_id = encoded_text(position.payment_id if action else queued.payment_id)
        deed = self._deed(action or usual_action, intent.entity_id, intent.actor)
        ends = self._refused(intent, code) if action else _DONE
        return begins + answered + payment_id + deed + call + ends

    def _call(self, origin: str) -> tuple[int, bytes]:
        """When a call came, and its request_id, ip, method and route. All payments of a batch come from one."""
        found = self._calls.get(origin)
        if found is None:
            called_at_ms, ip, request_id, operation = parse_origin(origin)
            call = encoded_text(request_id) + self._address(ip) + self._operation(operation)
            found = self._calls[origin] = called_at_ms, call
        return found

    def _deed(self, action: str, entity_id: str, actor: str) -> bytes:
        """action, entity_id, key_id and actor."""
        deed = action, entity_id, actor
        found = self._deeds.get(deed)
        if found is None:
            names = action, entity_id, *_key_and_actor(actor)
            found = self._deeds[deed] = b"".join([self._known[one] for one in names])
        return found

    def _refused(self, intent: Intent, code: str | None) -> bytes:
        """code, account_id and external_id of what the ledger has not done."""
        return self._known[code] + self._known[intent.guarded_account_id] + encoded_text(intent.external_id)

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
