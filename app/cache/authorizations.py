"""Authorizations in the cache: `lua/conclude.lua` captures, voids or expires them."""

from collections.abc import Sequence
from typing import Any

from app.cache import keys
from app.cache.client import CacheClient
from app.cache.codec import encode_intent, parse_conclusion
from app.domain.authorizations import AuthorizationState
from app.domain.payment import Intent, OutboxPosition
from app.domain.reservations import ConcludeCode, ConcludeReply, Conclusion, Stale

_WHEN = {
    AuthorizationState.CAPTURED: "before",
    AuthorizationState.VOIDED: "before",
    AuthorizationState.EXPIRED: "after",
}


class CachedAuthorizations:
    """The ends of authorizations in the cache."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    def conclude(
        self,
        outbox_position: OutboxPosition,
        intent: Intent,
        state: AuthorizationState,
        expires_at_ms: int,
        directory_version: int,
        holds_nothing: bool = False,
    ) -> ConcludeReply | Stale:
        """End the authorization at `outbox_position` by `intent`: capture or void it before its expiry, or expire it.

        `holds_nothing` says that the authorization lets the balance rise.
        """
        partition = outbox_position.partition
        names = [
            keys.outbox(partition),
            keys.directory(partition),
            keys.awake(partition),
            keys.tally(partition),
            keys.account(partition, intent.guarded_account_id),
            keys.conclusion(partition, outbox_position.stream_id),
        ]
        captured = intent.amount_minor if intent.moves_money else 0
        args = [
            directory_version,
            self._client.window_ms,
            self._client.backlog_limit,
            outbox_position.stream_id,
            intent.hold_minor,
            _WHEN[state],
            expires_at_ms,
            f"{state}|{captured}",
            encode_intent(intent),
            int(holds_nothing),
        ]
        [reply] = self._client.run([(keys.CONCLUDE, names, args)])
        return _conclude_reply(reply)

    def conclusion(self, outbox_position: OutboxPosition) -> Conclusion | None:
        """How the authorization at a position ended; None if it is open or ended before the idempotency window."""
        with self._client.translated():
            text: Any = self._client.redis.get(keys.conclusion(outbox_position.partition, outbox_position.stream_id))
        return None if text is None else parse_conclusion(text)


def _conclude_reply(reply: Sequence[Any]) -> ConcludeReply | Stale:
    if reply[0] == "STALE":
        return Stale()
    code = ConcludeCode(reply[0])
    if code is ConcludeCode.CONCLUDED_BEFORE:
        return ConcludeReply(code, parse_conclusion(reply[1]))
    if code is ConcludeCode.CONCLUDED:
        return ConcludeReply(code, Conclusion(AuthorizationState.AUTHORIZED, 0, reply[2]), int(reply[3]), reply[1] == 1)
    return ConcludeReply(code)
