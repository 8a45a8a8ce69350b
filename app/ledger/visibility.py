"""Whether something belongs to given entities, for keys that may act for some entities only.

Each query does the same work for what belongs to another entity as for what does not exist: both have no row.
"""

from collections.abc import Collection
from functools import partial
from threading import Lock

from sqlalchemy import Engine

from app.ledger.connections import LedgerConnection
from app.ledger.engine import separate_connection

_ACCOUNT = "SELECT true FROM account WHERE account_id = %s AND entity_id = ANY(%s::text[])"
_TRANSACTION = "SELECT true FROM ledger_transaction WHERE payment_id = %s AND entity_id = ANY(%s::text[])"
_PAYMENT = """
SELECT true FROM (
    SELECT payment_id, entity_id FROM ledger_transaction
    UNION ALL SELECT payment_id, entity_id FROM hold
    UNION ALL SELECT payment_id, entity_id FROM payment_rejection
    UNION ALL SELECT d.payment_id, t.entity_id FROM payment_duplicate d
        JOIN ledger_transaction t ON t.payment_id = d.original_payment_id
    UNION ALL SELECT d.payment_id, h.entity_id FROM payment_duplicate d
        JOIN hold h ON h.payment_id = d.original_payment_id
) known WHERE payment_id = %s AND entity_id = ANY(%s::text[]) LIMIT 1
"""


class LedgerVisibility:
    """Looks whether the ledger has something of these entities."""

    def __init__(self, engine: Engine) -> None:
        self._kept = LedgerConnection(partial(separate_connection, engine), checks_idle=True)
        self._kept_lock = Lock()

    def has_account(self, account_id: str, entities: Collection[str]) -> bool:
        """Whether an account belongs to one of these entities."""
        return self._finds(_ACCOUNT, account_id, entities)

    def has_payment(self, payment_id: str, entities: Collection[str]) -> bool:
        """Whether a payment does, in whatever state the ledger knows it."""
        return self._finds(_PAYMENT, payment_id, entities)

    def has_transaction(self, transaction_id: str, entities: Collection[str]) -> bool:
        """Whether a journal, a reversal or a refund does."""
        return self._finds(_TRANSACTION, transaction_id, entities)

    def _finds(self, query: str, wanted: str, entities: Collection[str]) -> bool:
        parameters = (wanted, sorted(entities))
        with self._kept_lock:
            rows = self._kept.run(lambda connection: connection.execute(query, parameters, prepare=True).fetchall())
        return bool(rows)
