"""Events that belong to no chain: changes of authorizations and accounts, rejections, breaks and crossings.

Each is read from the row that its position names. Columns that may change later are left out.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from app.domain.authorizations import AuthorizationState
from app.domain.events import Cursor, Event, EventType
from app.domain.timestamps import rfc3339
from app.ledger.event_rows import CONCLUDED_VERSION, FIRST_VERSION, AccountFacts, balance_event

Rows = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
Facts = Callable[[Iterable[str], int], Mapping[str, AccountFacts]]

_HOLDS = """
SELECT e.hold_event_id, e.state, e.amount_minor, e.actor, e.recorded_at, h.payment_id, h.entity_id, h.external_id,
    h.guarded_account_id, h.hold_minor, h.currency_code, h.legs, h.expires_at, h.description, h.metadata, h.accepted_at
FROM hold_event e JOIN hold h USING (payment_id) WHERE e.hold_event_id = ANY(%(ids)s::bigint[])
"""
_TOLD = """
SELECT position, account_id, held_minor, changes, balance_minor, entry_number FROM event_held
WHERE (account_id, position) IN (SELECT * FROM unnest(%(accounts)s::text[], %(positions)s::bigint[])) AND is_told
"""
_MOMENTS = "SELECT hold_event_id, recorded_at FROM hold_event WHERE hold_event_id = ANY(%(ids)s::bigint[])"
_REJECTIONS = """
SELECT payment_id, entity_id, external_id, code, detail, intent, rejected_at FROM payment_rejection
WHERE payment_id = ANY(%(ids)s::text[])
"""
_ACCOUNTS = """
SELECT e.audit_event_id, e.actor, e.action, e.detail, e.recorded_at, a.account_id, a.entity_id, a.type, a.currency_code
FROM audit_event e JOIN account a ON a.account_id = e.subject WHERE e.audit_event_id = ANY(%(ids)s::bigint[])
"""
_BREAKS = """
SELECT e.event_id, e.actor, e.state, e.note, e.recorded_at, b.break_id, b.kind, b.subject
FROM reconciliation_break_event e JOIN reconciliation_break b USING (break_id)
WHERE e.event_id = ANY(%(ids)s::bigint[])
"""
_CROSSINGS = """
SELECT c.crossing_id, c.is_met, c.value_minor, c.account_version, c.event_id, c.crossed_at, m.monitor_id, m.account_id,
    m.measure, m.comparison, m.threshold_minor, m.name, a.entity_id, a.currency_code
FROM monitor_crossing c JOIN balance_monitor m USING (monitor_id) JOIN account a USING (account_id)
WHERE c.crossing_id = ANY(%(ids)s::bigint[])
"""

_OF_STATE = {
    AuthorizationState.AUTHORIZED: EventType.PAYMENT_AUTHORIZED,
    AuthorizationState.VOIDED: EventType.PAYMENT_VOIDED,
    AuthorizationState.EXPIRED: EventType.PAYMENT_EXPIRED,
}
"""A capture is told by its transaction."""


TOLD_BY: Mapping[str, Collection[EventType]] = {
    "hold": {*_OF_STATE.values(), EventType.BALANCE_UPDATED},
    "rejection": {EventType.PAYMENT_REJECTED},
    "account": {EventType.ACCOUNT_OPENED, EventType.ACCOUNT_CHANGED},
    "break": {EventType.BREAK_OPENED, EventType.BREAK_RESOLVED},
    "monitor": {EventType.MONITOR_CROSSED},
}
"""What a row of each kind can tell."""


def events_without_chain(rows: Rows, singles: Sequence[Sequence[Any]], facts: Facts) -> Iterable[Event]:
    """The events of these rows of the log."""
    by_kind: dict[str, dict[str, int]] = defaultdict(dict)
    for position, kind, _, _, _, source_id, _ in singles:
        by_kind[kind][source_id] = position
    for kind, positions in by_kind.items():
        query, tell = _TELLERS[kind]
        for row in rows(query, {"ids": list(positions)}):
            event = tell(Cursor(positions[str(row[0])], 0, 0), row)
            if event is not None:
                yield event
    if "hold" in by_kind:
        yield from _balances(rows, [one for one in singles if one[1] == "hold"], facts)


def _balances(rows: Rows, holds: Sequence[Sequence[Any]], facts: Facts) -> Iterable[Event]:
    """The funds of accounts on which a batch has changed what is held, and nothing else."""
    told = rows(_TOLD, {"accounts": [one[6] for one in holds], "positions": [one[0] for one in holds]})
    ids = {one[0]: one[5] for one in holds}
    of_accounts = facts((row[1] for row in told), min((row[0] for row in told), default=0))
    moments = {int(one[0]): one[1] for one in rows(_MOMENTS, {"ids": list(ids.values())})} if told else {}
    for position, account_id, held_minor, changes, balance_minor, entry_number in told:
        yield balance_event(
            Cursor(position, 0, 1),
            f"evt_hold_{ids[position]}_b",
            account_id,
            moments[int(ids[position])],
            entry_number + changes,
            balance_minor,
            held_minor,
            of_accounts[account_id],
        )


def _hold_event(cursor: Cursor, row: Sequence[Any]) -> Event | None:
    hold_event_id, state, _, actor, at, payment_id, entity_id, external_id, guarded = row[:9]
    hold_minor, currency_code, legs, expires_at, description, metadata, accepted_at = row[9:]
    type_ = _OF_STATE.get(AuthorizationState(state))
    if type_ is None:
        return None
    told = {
        "payment_id": payment_id,
        "status": type_.value.partition(".")[2],
        "entity_id": entity_id,
        "external_id": external_id,
        "actor": actor,
        "amount_minor": sum(amount for _, amount in legs if amount > 0),
        "held_minor": hold_minor,
        "held_on_account_id": guarded,
        "currency_code": currency_code,
        "description": description,
        "metadata": metadata,
        "accepted_at": rfc3339(accepted_at),
        "expires_at": rfc3339(expires_at),
    }
    version = FIRST_VERSION if type_ is EventType.PAYMENT_AUTHORIZED else CONCLUDED_VERSION
    accounts = tuple(dict.fromkeys(account_id for account_id, _ in legs))
    return Event(cursor, f"evt_hold_{hold_event_id}", type_, payment_id, at, version, told, entity_id, accounts)


def _rejection_event(cursor: Cursor, row: Sequence[Any]) -> Event:
    payment_id, entity_id, external_id, code, detail, intent, at = row
    legs = intent["legs"]
    told = {
        "payment_id": payment_id,
        "status": "rejected",
        "entity_id": entity_id,
        "external_id": external_id,
        "kind": intent["kind"],
        "code": code,
        "detail": detail,
        "amount_minor": sum(leg["amount_minor"] for leg in legs if leg["amount_minor"] > 0),
        "currency_code": intent["currency_code"],
    }
    accounts = tuple(dict.fromkeys(leg["account_id"] for leg in legs))
    event_id = f"evt_rejected_{payment_id}"
    return Event(cursor, event_id, EventType.PAYMENT_REJECTED, payment_id, at, FIRST_VERSION, told, entity_id, accounts)


def _account_event(cursor: Cursor, row: Sequence[Any]) -> Event:
    change_id, actor, action, detail, at, account_id, entity_id, type_, currency_code = row
    told: dict[str, Any] = {"account_id": account_id, "entity_id": entity_id, "actor": actor}
    if action == "account.create":
        told |= {"type": type_, "currency_code": currency_code, "name": detail.get("name")}
        told["overdraft_limit_minor"] = detail.get("overdraft_limit_minor")
        kind, version = EventType.ACCOUNT_OPENED, 0
    else:
        told |= {"reason": detail["reason"], "before": detail["before"], "after": detail["after"]}
        kind, version = EventType.ACCOUNT_CHANGED, change_id
    return Event(cursor, f"evt_account_{change_id}", kind, account_id, at, version, told, entity_id, (account_id,))


def _break_event(cursor: Cursor, row: Sequence[Any]) -> Event:
    event_id, actor, state, note, at, break_id, kind, about = row
    type_ = EventType.BREAK_RESOLVED if state in ("resolved", "accepted") else EventType.BREAK_OPENED
    told = {"break_id": str(break_id), "kind": kind, "subject": about, "state": state, "actor": actor, "note": note}
    return Event(cursor, f"evt_break_{event_id}", type_, str(break_id), at, event_id, told)


def _crossing_event(cursor: Cursor, row: Sequence[Any]) -> Event:
    crossing_id, is_met, value_minor, account_version, cause, at, monitor_id, account_id = row[:8]
    measure, comparison, threshold_minor, name, entity_id, currency_code = row[8:]
    told = {
        "monitor_id": monitor_id,
        "name": name,
        "account_id": account_id,
        "entity_id": entity_id,
        "measure": measure,
        "comparison": comparison,
        "threshold_minor": threshold_minor,
        "currency_code": currency_code,
        "is_met": is_met,
        "value_minor": value_minor,
        "account_version": account_version,
        "event_id": cause,
    }
    event_id = f"evt_crossing_{crossing_id}"
    accounts = (account_id,)
    return Event(cursor, event_id, EventType.MONITOR_CROSSED, monitor_id, at, crossing_id, told, entity_id, accounts)


Tell = Callable[[Cursor, Sequence[Any]], Event | None]
_TELLERS: dict[str, tuple[str, Tell]] = {
    "hold": (_HOLDS, _hold_event),
    "rejection": (_REJECTIONS, _rejection_event),
    "account": (_ACCOUNTS, _account_event),
    "break": (_BREAKS, _break_event),
    "monitor": (_CROSSINGS, _crossing_event),
}
"""For each kind: the query, whose first column is the row's key, and what makes an event of its rows."""
