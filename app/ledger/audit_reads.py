"""Reading the audit. Records of payments are completed from what the ledger has under their payment id."""

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    Select,
    Text,
    and_,
    any_,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET

from app.domain.accounts import DEFAULT_ENTITY
from app.domain.actors import KEY_ACTOR
from app.domain.audit import POSTED_BY_DRAINS
from app.domain.audit_reads import AuditEntry, AuditFilter, AuditPlace, Outcome
from app.ledger.audit_schema import audit_call as call
from app.ledger.connections import translated
from app.ledger.history import OF_TRANSACTION
from app.ledger.schema import api_key, entry, hold, ledger_transaction, payment_rejection

_IS_OF_PAYMENT = call.c.action.in_([one.value for one in POSTED_BY_DRAINS])
_OF_PAYMENT = and_(call.c.payment_id == ledger_transaction.c.payment_id, _IS_OF_PAYMENT)
_OF_HOLD = and_(call.c.payment_id == hold.c.payment_id, _IS_OF_PAYMENT)
_SOURCE = (
    select(entry.c.account_id)
    .where(OF_TRANSACTION, entry.c.leg == 0)
    .correlate(ledger_transaction)
    .limit(1)
    .scalar_subquery()
)
"""The account that a posted payment debits: its first leg."""
_COMPLETED = {
    "actor": func.coalesce(call.c.actor, KEY_ACTOR + call.c.key_id),
    "ip": func.host(call.c.ip),
    "account_id": func.coalesce(call.c.account_id, hold.c.guarded_account_id, _SOURCE),
    "external_id": func.coalesce(call.c.external_id, ledger_transaction.c.external_id, hold.c.external_id),
}
_ENTRIES = select(*(_COMPLETED.get(name, call.c[name]).label(name) for name in AuditEntry.__slots__)).select_from(
    call.outerjoin(ledger_transaction, _OF_PAYMENT).outerjoin(hold, _OF_HOLD)
)
_PLACE = tuple_(call.c.called_at, call.c.number)


class AuditReads:
    """The records of the audit, in the order in which the calls came."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, wanted: AuditFilter, *, limit: int, after: AuditPlace | None) -> list[AuditEntry]:
        """Up to `limit` records, the oldest first, those after a place."""
        query = _ENTRIES.where(*_conditions(wanted)).order_by(call.c.called_at, call.c.number).limit(limit)
        if after is not None:
            query = query.where(tuple_(literal(after.called_at), literal(after.number)) < _PLACE)
        return self._read(query)

    def latest(self, wanted: AuditFilter, *, limit: int, before: AuditPlace | None) -> list[AuditEntry]:
        """Up to `limit` records, the newest first, those before a place."""
        query = _ENTRIES.where(*_conditions(wanted))
        query = query.order_by(call.c.called_at.desc(), call.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(tuple_(literal(before.called_at), literal(before.number)) > _PLACE)
        return self._read(query)

    def get(self, place: AuditPlace, entities: Collection[str] | None) -> AuditEntry | None:
        """One record; None if there is none, or none that belongs to these entities."""
        at_place = and_(call.c.called_at == place.called_at, call.c.number == place.number)
        seen = _ENTRIES.where(at_place, *_conditions(AuditFilter(entities=entities)))
        return next(iter(self._read(seen)), None)

    def _read(self, query: Select[Any]) -> list[AuditEntry]:
        with translated(), self._engine.connect() as connection:
            return [AuditEntry(*row) for row in connection.execute(query)]


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    entity_id = wanted.entity_id or DEFAULT_ENTITY
    special: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "from_time": lambda value: call.c.called_at >= value,
        "to_time": lambda value: call.c.called_at < value,
        "actor": _is_actor,
        "who": lambda actors: or_(*map(_is_actor, actors)),
        "outcome": _is_answered,
        "is_change": _is_change,
        "ip": lambda value: call.c.ip.op("<<=")(cast(literal(value), INET)),
        "account_id": _is_of_account,
        "payment_id": _is_of_payment,
        "external_id": lambda value: _is_of_external_id(entity_id, value),
        "entities": _is_of_entities,
    }
    return [
        special[name](value) if name in special else call.c[name] == value for name, value in wanted.asked().items()
    ]


def _is_actor(actor: str) -> ColumnElement[bool]:
    if actor.startswith(KEY_ACTOR):
        return and_(call.c.actor.is_(None), call.c.key_id == actor.removeprefix(KEY_ACTOR))
    return call.c.actor == actor


def _is_answered(outcome: Outcome) -> ColumnElement[bool]:
    if outcome is Outcome.DONE:
        return or_(call.c.status < 400, call.c.status.is_(None))
    return call.c.status.between(400, 499) if outcome is Outcome.REFUSED else call.c.status >= 500


def _is_change(is_change: bool) -> ColumnElement[bool]:
    reads = func.coalesce(call.c.method, "").in_(("GET", "HEAD"))
    return ~reads if is_change else reads


def _is_of_entities(entities: Collection[str]) -> ColumnElement[bool]:
    """Of calls about these entities; and where nobody knows about which, of calls by keys that see no others."""
    wanted = literal(sorted(entities), ARRAY(Text))
    entity_id = func.coalesce(call.c.entity_id, ledger_transaction.c.entity_id, hold.c.entity_id)
    own_keys = select(api_key.c.key_id).where(api_key.c.entities.contained_by(wanted))
    return or_(entity_id == any_(wanted), and_(entity_id.is_(None), call.c.key_id.in_(own_keys)))


def _is_of_account(account_id: str) -> ColumnElement[bool]:
    """Of calls that name an account, and of payments that moved or held its money."""
    moved = select(ledger_transaction.c.payment_id).join(entry, OF_TRANSACTION).where(entry.c.account_id == account_id)
    held = select(hold.c.payment_id).where(hold.c.legs.contains([[account_id]]))
    return or_(call.c.account_id == account_id, call.c.payment_id.in_(union_all(moved, held)))


def _is_of_payment(payment_id: str) -> ColumnElement[bool]:
    """Of calls that name a payment, and of the refunds, reversals and journals that relate to it."""
    related = select(ledger_transaction.c.payment_id).where(ledger_transaction.c.relates_to == payment_id)
    return or_(call.c.payment_id == payment_id, call.c.payment_id.in_(related))


def _is_of_external_id(entity_id: str, external_id: str) -> ColumnElement[bool]:
    of_payments = union_all(
        *(
            select(table.c.payment_id).where(table.c.entity_id == entity_id, table.c.external_id == external_id)
            for table in (ledger_transaction, hold, payment_rejection)
        )
    )
    # A refused call has no entity: nobody knows which one it meant.
    named = and_(call.c.external_id == external_id, func.coalesce(call.c.entity_id, entity_id) == entity_id)
    return or_(named, call.c.payment_id.in_(of_payments))
