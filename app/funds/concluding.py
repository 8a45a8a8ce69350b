"""Concluding: the end of an authorization, by `lua/conclude.lua`."""

from collections.abc import Sequence
from typing import Any

from app.domain.decisions import ConcludeCode, ConcludeReply, Conclusion, Stale, parse_conclusion
from app.domain.holds import HoldState
from app.domain.partitions import PaymentPosition
from app.domain.payments import Intent
from app.funds import keys, scripts
from app.funds.calls import Calls
from app.funds.intents import encode_intent

_WHEN = {HoldState.CAPTURED: "before", HoldState.VOIDED: "before", HoldState.EXPIRED: "after"}


class Concluding(Calls):
    """The cache, for ending authorizations."""

    def conclude(
        self,
        place: PaymentPosition,
        intent: Intent,
        state: HoldState,
        expires_at_ms: int,
        directory_version: int,
        holds_nothing: bool = False,
    ) -> ConcludeReply | Stale:
        """End the authorization at `place` by `intent`: captured or voided before its expiry, or expired after it.

        `holds_nothing` is said of an authorization that lets the balance rise.
        """
        partition = place.partition
        names = [
            keys.outbox(partition),
            keys.directory(partition),
            keys.awake(partition),
            keys.tally(partition),
            keys.account(partition, intent.guarded_account_id),
            keys.conclusion(partition, place.position),
        ]
        captured = intent.amount_minor if intent.moves_money else 0
        args = [
            directory_version,
            self.window_ms,
            self.backlog_limit,
            place.position,
            intent.hold_minor,
            _WHEN[state],
            expires_at_ms,
            f"{state}|{captured}",
            encode_intent(intent),
            int(holds_nothing),
        ]
        [reply] = self._run([(scripts.CONCLUDE, names, args)])
        return _conclude_reply(reply)

    def conclusion(self, place: PaymentPosition) -> Conclusion | None:
        """How the authorization at a position ended, inside the window."""
        with self._guarded():
            text: Any = self._client.get(keys.conclusion(place.partition, place.position))
        return None if text is None else parse_conclusion(text)


def _conclude_reply(reply: Sequence[Any]) -> ConcludeReply | Stale:
    if reply[0] == "STALE":
        return Stale()
    code = ConcludeCode(reply[0])
    if code is ConcludeCode.CONCLUDED_BEFORE:
        return ConcludeReply(code, parse_conclusion(reply[1]))
    if code is ConcludeCode.CONCLUDED:
        return ConcludeReply(code, Conclusion(HoldState.AUTHORIZED, 0, reply[2]), int(reply[3]), reply[1] == 1)
    return ConcludeReply(code)
