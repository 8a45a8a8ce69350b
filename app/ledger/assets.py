"""Registered assets in the ledger: each is registered once and never changed."""

from sqlalchemy import Engine, Row, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.audit import Action
from app.domain.money import Asset
from app.domain.origin import note_recorded
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.schema import asset, audit_event, used_currency


class LedgerAssets:
    """The register of assets."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register(self, wanted: Asset, actor: str) -> tuple[Asset, bool]:
        """Register an asset with its audit event; returns the registered one, and whether it is new."""
        values = {"currency_code": wanted.currency_code, "minor_units": wanted.minor_units, "name": wanted.name}
        statement = upsert(asset).values(**values, registered_by=actor, registered_at=func.clock_timestamp())
        with translated(), self._engine.begin() as connection:
            row = connection.execute(statement.on_conflict_do_nothing().returning(*asset.c)).first()
            if row is None:
                code = wanted.currency_code
                return _asset(connection.execute(select(asset).where(asset.c.currency_code == code)).one()), False
            connection.execute(
                insert(audit_event).values(
                    actor=actor,
                    action="asset.register",
                    subject=wanted.currency_code,
                    detail=values,
                    recorded_at=func.clock_timestamp(),
                )
            )
            record_change(connection.exec_driver_sql, Action.ASSET_REGISTER, actor, result=values)
        note_recorded()
        return _asset(row), True

    def get(self, currency_code: str) -> Asset | None:
        """What the ledger keeps under a code: a currency in use, or a registered asset; None for neither."""
        used = select(used_currency).where(used_currency.c.currency_code == currency_code)
        registered = select(asset).where(asset.c.currency_code == currency_code)
        with translated(), self._engine.connect() as connection:
            row = connection.execute(used).first()
            if row is not None:
                return Asset(row.currency_code, row.minor_units, row.name)
            row = connection.execute(registered).first()
        return None if row is None else _asset(row)

    def page(self, *, limit: int, after: str | None) -> list[Asset]:
        """Up to `limit` assets by code, after code `after`."""
        query = select(asset).order_by(asset.c.currency_code).limit(limit)
        if after is not None:
            query = query.where(asset.c.currency_code > after)
        with translated(), self._engine.connect() as connection:
            return [_asset(row) for row in connection.execute(query)]


def _asset(row: Row[tuple[object, ...]]) -> Asset:
    return Asset(row.currency_code, row.minor_units, row.name, row.registered_by, row.registered_at)
