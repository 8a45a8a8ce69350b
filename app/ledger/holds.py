"""Authorizations in the books."""

from datetime import datetime

from sqlalchemy import ColumnElement, Engine, and_, select

from app.domain.holds import Hold
from app.ledger.database import translated
from app.ledger.hold_rows import hold_of
from app.ledger.schema import hold


class HoldBooks:
    """The authorizations of the books."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, payment_id: str) -> Hold | None:
        """One authorization; None where there is none."""
        return self._one(hold.c.payment_id == payment_id)

    def by_external_id(self, entity_id: str, external_id: str) -> Hold | None:
        """One authorization by its external id."""
        return self._one(and_(hold.c.entity_id == entity_id, hold.c.external_id == external_id))

    def due(self, now: datetime, limit: int) -> list[Hold]:
        """Up to `limit` authorizations whose time is over at `now`, the longest overdue first."""
        query = select(hold).where(hold.c.state == "authorized", hold.c.expires_at <= now)
        with translated(), self._engine.connect() as connection:
            return [hold_of(row) for row in connection.execute(query.order_by(hold.c.expires_at).limit(limit))]

    def _one(self, condition: ColumnElement[bool]) -> Hold | None:
        with translated(), self._engine.connect() as connection:
            row = connection.execute(select(hold).where(condition)).first()
        return None if row is None else hold_of(row)
