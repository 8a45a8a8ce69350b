"""API keys in the ledger: stored as hashes, revoked but never deleted."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, insert, select, update

from app.domain.audit import Action
from app.domain.origin import note_recorded
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.schema import api_key, audit_event


@dataclass(slots=True, frozen=True)
class StoredKey:
    """A key without its secret."""

    key_id: str
    name: str
    secret_hash: bytes
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None


class LedgerApiKeys:
    """The API keys; each creation and revocation is audited."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, key_id: str, name: str, secret_hash: bytes, scopes: list[str], actor: str) -> None:
        """Store a new key and its audit event."""
        with translated(), self._engine.begin() as connection:
            connection.execute(
                insert(api_key).values(
                    key_id=key_id, name=name, secret_hash=secret_hash, scopes=scopes, created_at=func.clock_timestamp()
                )
            )
            detail = {"name": name, "scopes": scopes}
            connection.execute(
                insert(audit_event).values(
                    actor=actor, action="key.create", subject=key_id, detail=detail, recorded_at=func.clock_timestamp()
                )
            )
            record_change(connection.exec_driver_sql, Action.KEY_CREATE, actor, result={"key_id": key_id, **detail})
        note_recorded()

    def get(self, key_id: str) -> StoredKey | None:
        """One key; None if there is none."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(select(api_key).where(api_key.c.key_id == key_id)).first()
        return None if row is None else _stored(tuple(row))

    def all(self) -> list[StoredKey]:
        """Every key, oldest first."""
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(select(api_key).order_by(api_key.c.created_at))
            return [_stored(tuple(row)) for row in rows]

    def revoke(self, key_id: str, actor: str) -> bool:
        """Revoke a key, once; returns whether there was one to revoke."""
        with translated(), self._engine.begin() as connection:
            revoked = connection.execute(
                update(api_key)
                .where(api_key.c.key_id == key_id, api_key.c.revoked_at.is_(None))
                .values(revoked_at=func.clock_timestamp())
            ).rowcount
            if revoked:
                connection.execute(
                    insert(audit_event).values(
                        actor=actor, action="key.revoke", subject=key_id, detail={}, recorded_at=func.clock_timestamp()
                    )
                )
                record_change(connection.exec_driver_sql, Action.KEY_REVOKE, actor, result={"key_id": key_id})
        if revoked:
            note_recorded()
        return bool(revoked)


def _stored(row: tuple[object, ...]) -> StoredKey:
    key_id, name, secret_hash, scopes, created_at, revoked_at = row
    return StoredKey(key_id, name, bytes(secret_hash), frozenset(scopes), created_at, revoked_at)  # type: ignore[arg-type, call-overload]
