"""API keys in the ledger: stored as hashes, revoked but never deleted.

The owner makes, revokes and rotates keys; so may an API key with the scope `admin`, and a person with the role `admin`,
whom the database checks by a secret (see `0011_key_access.sql` and `0021_key_pages.sql`). The app's role can only read
keys, and note that one was used.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Text, extract, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.actors import key_actor, user_actor
from app.domain.api_keys import KeyOutcome, NewKey, PresentedKey, PresentedPerson
from app.domain.audit import Action
from app.domain.origin import note_recorded
from app.domain.rate_limits import RateLimit
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.schema import api_key, api_key_use

_FUNCTIONS = {
    Action.KEY_CREATE: "make_api_key",
    Action.KEY_REVOKE: "revoke_api_key",
    Action.KEY_ROTATE: "rotate_api_key",
}
_DONE = (KeyOutcome.MADE, KeyOutcome.REVOKED, KeyOutcome.ROTATED)

By = str | PresentedKey | PresentedPerson
"""Who administers keys: an actor, with the owner's rights; or an API key or a person, with their own."""


@dataclass(slots=True, frozen=True)
class StoredKey:
    """A key without its secret. Without `entities` it may act for all of them."""

    key_id: str
    name: str
    secret_hash: bytes
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None
    entities: frozenset[str] | None = None
    expires_at: datetime | None = None
    expires_in_s: float | None = None
    """Until it expires, by the ledger's clock at the time of reading; not positive if it has expired."""
    limit: RateLimit | None = None
    rotated_from: str | None = None
    last_used_at: datetime | None = None
    """To the minute."""

    @property
    def status(self) -> str:
        """`active`, `expired` or `revoked`, at the time of reading."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_in_s is not None and self.expires_in_s <= 0 else "active"


_KEYS = select(
    *api_key.c,
    extract("epoch", api_key.c.expires_at - func.clock_timestamp()).label("expires_in_s"),
    api_key_use.c.last_used_at,
).outerjoin(api_key_use, api_key_use.c.key_id == api_key.c.key_id)


class LedgerApiKeys:
    """The API keys; each creation, revocation and rotation is audited."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Reading

    def get(self, key_id: str) -> StoredKey | None:
        """One key; None if there is none."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_KEYS.where(api_key.c.key_id == key_id)).first()
        return None if row is None else _stored(row)

    def all(self) -> list[StoredKey]:
        """Every key, oldest first."""
        with translated(), self._engine.connect() as connection:
            return [_stored(row) for row in connection.execute(_KEYS.order_by(api_key.c.created_at))]

    def page(self, *, limit: int, after: str | None, entities: Collection[str] | None) -> list[StoredKey]:
        """Up to `limit` keys by id, after key `after`; with `entities` those that reach none beside them."""
        query = _KEYS.order_by(api_key.c.key_id).limit(limit)
        if after is not None:
            query = query.where(api_key.c.key_id > after)
        if entities is not None:
            query = query.where(api_key.c.entities.contained_by(literal(sorted(entities), ARRAY(Text))))
        with translated(), self._engine.connect() as connection:
            return [_stored(row) for row in connection.execute(query)]

    # Writing

    def add(self, key_id: str, secret_hash: bytes, new: NewKey, by: By) -> KeyOutcome:
        """Store a new key and its audit event: MADE, NOT_ADMINISTRATOR or BEYOND_ENTITIES."""
        entities = None if new.entities is None else sorted(new.entities)
        rate = (None, None) if new.limit is None else (new.limit.per_second, new.limit.burst)
        values = (new.name, secret_hash, list(new.scopes), entities, new.expires_at, *rate)
        return self._call(Action.KEY_CREATE, by, key_id, *values, name=new.name, scopes=list(new.scopes))

    def revoke(self, key_id: str, by: By) -> KeyOutcome:
        """Revoke a key, once: REVOKED, ENDED (it was before), UNKNOWN or NOT_ADMINISTRATOR."""
        return self._call(Action.KEY_REVOKE, by, key_id)

    def rotate(self, key_id: str, new_id: str, secret_hash: bytes, overlap: timedelta, by: By) -> KeyOutcome:
        """Make a successor with the same rights; the key itself ends after `overlap`, or earlier if it would have.

        ROTATED, UNKNOWN, ENDED, ROTATED_BEFORE or NOT_ADMINISTRATOR.
        """
        return self._call(Action.KEY_ROTATE, by, key_id, new_id, secret_hash, overlap, successor=new_id)

    def note_use(self, key_id: str) -> None:
        """Note that a key is in use, at the ledger's time."""
        statement = upsert(api_key_use).values(key_id=key_id, last_used_at=func.clock_timestamp())
        later = func.greatest(api_key_use.c.last_used_at, statement.excluded.last_used_at)
        noting = statement.on_conflict_do_update(index_elements=["key_id"], set_={"last_used_at": later})
        with translated(), self._engine.begin() as connection:
            connection.execute(noting)

    def _call(self, action: Action, by: By, key_id: str, *arguments: Any, **told: Any) -> KeyOutcome:
        """Call the function of the ledger that does this; what it did is recorded with it, and what else is `told`.

        Parameters are bound, so no statement shows a secret.
        """
        function = _FUNCTIONS[action]
        if isinstance(by, PresentedKey):
            actor, values = key_actor(by.key_id), (by.key_id, by.secret, key_id, *arguments)
            function += "_as"
        elif isinstance(by, PresentedPerson):
            actor, values = user_actor(by.user_id), (by.user_id, by.proof, key_id, *arguments)
            function += "_by"
        else:
            actor, values = by, (by, key_id, *arguments)
        places = {f"p{number}": value for number, value in enumerate(values)}
        query = text(f"SELECT {function}({', '.join(f':{name}' for name in places)})")
        with translated(), self._engine.begin() as connection:
            outcome = KeyOutcome(connection.execute(query, places).scalar_one())
            if outcome in _DONE:
                record_change(connection.exec_driver_sql, action, actor, result={"key_id": key_id, **told})
        if outcome in _DONE:
            note_recorded()
        return outcome


def _stored(row: Any) -> StoredKey:
    return StoredKey(
        key_id=row.key_id,
        name=row.name,
        secret_hash=bytes(row.secret_hash),
        scopes=frozenset(row.scopes),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        entities=None if row.entities is None else frozenset(row.entities),
        expires_at=row.expires_at,
        expires_in_s=None if row.expires_in_s is None else float(row.expires_in_s),
        limit=None if row.rate_per_second is None else RateLimit(row.rate_per_second, row.rate_burst),
        rotated_from=row.rotated_from,
        last_used_at=row.last_used_at,
    )
