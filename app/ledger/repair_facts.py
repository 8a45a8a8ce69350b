"""What the preview of a repair reads from the ledger, over the pool of the process that shows it."""

from sqlalchemy import Engine

from app.ledger.connections import translated
from app.ledger.hydration_rows import FOR_HYDRATION, Hydration, hydration_from
from app.ledger.proof_records import IN_DOUBT, KINDS_OF_CACHE
from app.ledger.reconciliation import BALANCES_AT


class LedgerRepairFacts:
    """Reads for a preview. Nothing here changes anything."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def balance_at(self, account_id: str, entry_number: int) -> int | None:
        """The ledger's balance after an entry, in minor units; None if there is no such entry."""
        with translated(), self._engine.connect() as connection:
            rows = connection.exec_driver_sql(BALANCES_AT, ([account_id], [entry_number])).fetchall()
        return None if not rows or rows[0][1] is None else rows[0][3]

    def for_hydration(self, account_id: str) -> Hydration:
        """What a rebuilt account is told."""
        with translated(), self._engine.connect() as connection:
            rows = connection.exec_driver_sql(FOR_HYDRATION, ([account_id],)).fetchall()
        return hydration_from([tuple(row) for row in rows])

    def is_in_doubt(self) -> bool:
        """Whether a break of the ledger itself is open, so that nothing is rebuilt from it."""
        with translated(), self._engine.connect() as connection:
            return bool(connection.exec_driver_sql(IN_DOUBT, (KINDS_OF_CACHE,)).scalar_one())
