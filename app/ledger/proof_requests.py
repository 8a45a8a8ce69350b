"""What people have asked of the reconciliation, as the ledger keeps it: asked by the API, done by the worker.

The worker imports no SQLAlchemy, so the statements are the driver's and run over either kind of connection.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from typing import Any

from psycopg.types.json import Jsonb

from app.domain.audit import Action
from app.domain.break_workflow import EventAction
from app.domain.origin import note_recorded
from app.domain.proof_requests import ProofRequest, RequestMode, RequestOutcome
from app.ledger.audit_records import Execute, record_change
from app.ledger.break_records import record_break_event
from app.ledger.connections import LedgerConnection

_NAMES = [one.name for one in fields(ProofRequest)]
_REQUEST = ", ".join(_NAMES)
_ASK = f"""
INSERT INTO reconciliation_request (mode, break_id, account_id, reason, preview, asked_by)
VALUES (%(mode)s, %(break_id)s, %(account_id)s, %(reason)s, %(preview)s, %(asked_by)s) RETURNING {_REQUEST}
"""  # noqa: S608 - names of columns
_SAME = f"""
SELECT {_REQUEST} FROM reconciliation_request WHERE finished_at IS NULL AND mode = %(mode)s
    AND (started_at IS NULL OR mode = 'repair') AND break_id IS NOT DISTINCT FROM %(break_id)s::bigint
ORDER BY request_id LIMIT 1
"""  # noqa: S608 - names of columns
_ONE = f"SELECT {_REQUEST} FROM reconciliation_request WHERE request_id = %(request_id)s"  # noqa: S608 - the same
_UNFINISHED = f"""
SELECT {_REQUEST} FROM reconciliation_request WHERE finished_at IS NULL ORDER BY request_id LIMIT 100
"""  # noqa: S608 - names of columns
_OF_BREAK = f"""
SELECT {_REQUEST} FROM reconciliation_request WHERE break_id = %(break_id)s ORDER BY request_id
"""  # noqa: S608 - names of columns
_START = "UPDATE reconciliation_request SET started_at = clock_timestamp() WHERE request_id = %(request_id)s"
_FINISH = """
UPDATE reconciliation_request SET finished_at = clock_timestamp(), outcome = %(outcome)s, detail = %(detail)s,
    run_id = %(run_id)s
WHERE request_id = %(request_id)s AND finished_at IS NULL
"""
_IS_FULL_DUE = """
SELECT EXISTS (SELECT FROM ledger_transaction) AND NOT EXISTS (SELECT FROM reconciliation_run
    WHERE mode = 'full' AND coalesce(finished_at, heard_at, started_at) > clock_timestamp() - %(every)s::interval)
"""
_LOCK = "SELECT pg_advisory_xact_lock(477021, 0)"

Begin = Callable[[], AbstractContextManager[Execute]]


def over(ledger: LedgerConnection) -> Begin:
    """Transactions over a connection that its owner keeps."""

    @contextmanager
    def begin() -> Iterator[Execute]:
        with ledger.transaction() as connection:
            yield connection.execute

    return begin


class LedgerProofRequests:
    """The requests, in transactions of the driver."""

    def __init__(self, begin: Begin) -> None:
        """`begin` opens a transaction and gives its way to run a statement."""
        self._begin = begin

    def ask(
        self,
        mode: RequestMode,
        actor: str,
        *,
        break_id: int | None = None,
        account_id: str | None = None,
        reason: str = "",
        preview: Mapping[str, Any] | None = None,
    ) -> ProofRequest:
        """Keep a request, or find the same one that is not finished yet; it is recorded with who asked."""
        asked = {"mode": mode.value, "break_id": break_id, "account_id": account_id, "reason": reason}
        with self._begin() as execute:
            execute(_LOCK, {})
            same = execute(_SAME, {"mode": mode.value, "break_id": break_id}).fetchall()
            if same:
                return _request(same[0])
            kept = {"preview": None if preview is None else Jsonb(dict(preview)), "asked_by": actor}
            request = _request(execute(_ASK, asked | kept).fetchall()[0])
            result = {"request_id": request.request_id, **asked}
            record_change(execute, Action.RECONCILIATION_REQUEST, actor, account_id=account_id, result=result)
            if break_id is not None:
                record_break_event(execute, break_id, actor, reason, EventAction.REPAIR_ASKED)
        note_recorded()
        return request

    def get(self, request_id: int) -> ProofRequest | None:
        """One request; None if there is none."""
        return next(iter(self._requests(_ONE, request_id=request_id)), None)

    def unfinished(self) -> list[ProofRequest]:
        """What waits or is under way, in the order in which it was asked for."""
        return self._requests(_UNFINISHED)

    def of_break(self, break_id: int) -> list[ProofRequest]:
        """The repairs that were asked for a break, oldest first."""
        return self._requests(_OF_BREAK, break_id=break_id)

    def start(self, request_id: int) -> None:
        """Note that a request is under way; once more if an earlier try broke off."""
        with self._begin() as execute:
            execute(_START, {"request_id": request_id})

    def finish(self, request_id: int, outcome: RequestOutcome, detail: str, run_id: int | None) -> None:
        """Note what has come of a request, once."""
        values = {"request_id": request_id, "outcome": outcome.value, "detail": detail, "run_id": run_id}
        with self._begin() as execute:
            execute(_FINISH, values)

    def is_full_due(self, every_hours: int) -> bool:
        """Whether the ledger has transactions and no full run has ended, or is under way, within so many hours."""
        with self._begin() as execute:
            return bool(execute(_IS_FULL_DUE, {"every": f"{every_hours} hours"}).fetchall()[0][0])

    def _requests(self, query: str, **parameters: Any) -> list[ProofRequest]:
        with self._begin() as execute:
            return [_request(row) for row in execute(query, parameters).fetchall()]


def _request(row: Any) -> ProofRequest:
    values: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    outcome = values["outcome"]
    values |= {"mode": RequestMode(values["mode"]), "outcome": None if outcome is None else RequestOutcome(outcome)}
    return ProofRequest(**values)
