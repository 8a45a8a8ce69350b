"""What the ledger has on record of one payment, refund, journal or authorization, for its evidence packet."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.domain.evidence import (
    AuthorizationRecord,
    CallRecord,
    ConflictRecord,
    DeliveryRecord,
    EntryRecord,
    EventRecord,
    LimitRecord,
    RefusedCall,
    RejectionRecord,
    RelatedRecord,
    RunRecord,
    TransactionRecord,
)
from app.ledger.merkle_tree import Rows

_TRANSACTION = """
SELECT t.partition, t.chain_seq, t.entity_id, t.external_id, t.kind, t.payment_id, t.relates_to, t.fingerprint, t.actor,
    t.description, t.metadata::text, (extract(epoch FROM t.accepted_at) * 1000000)::bigint,
    (extract(epoch FROM t.effective_at) * 1000000)::bigint, (extract(epoch FROM t.posted_at) * 1000000)::bigint,
    t.previous_hash, t.hash
FROM ledger_transaction t WHERE t.payment_id = %(id)s
"""
_ENTRIES = """
SELECT e.account_id, e.entry_number, e.amount_minor, e.balance_minor - b.normal_sign * e.amount_minor, e.balance_minor,
    e.currency_code
FROM entry e JOIN account_balance b USING (account_id)
WHERE e.partition = %(partition)s AND e.chain_seq = %(chain_seq)s ORDER BY e.leg
"""
_ORIGINAL = "SELECT original_payment_id FROM payment_duplicate WHERE payment_id = %(id)s"
_REPEATS = """
SELECT payment_id, recorded_at FROM payment_duplicate WHERE original_payment_id = %(id)s ORDER BY recorded_at LIMIT 100
"""
_OF_EXTERNAL_ID = """
SELECT payment_id FROM ledger_transaction WHERE entity_id = %(entity_id)s AND external_id = %(external_id)s
UNION ALL SELECT payment_id FROM hold WHERE entity_id = %(entity_id)s AND external_id = %(external_id)s
UNION ALL (SELECT payment_id FROM payment_rejection WHERE entity_id = %(entity_id)s AND external_id = %(external_id)s
    ORDER BY rejected_at DESC LIMIT 1)
LIMIT 1
"""
_AUTHORIZATION = """
SELECT payment_id, entity_id, external_id, fingerprint, guarded_account_id, hold_minor, currency_code, legs, state,
    expires_at, captured_minor, concluded_by, actor, description, effective_at, metadata::text, accepted_at,
    concluded_at
FROM hold WHERE payment_id = %(id)s
"""
_EVENTS = """
SELECT state, amount_minor, actor, intent_id, recorded_at FROM hold_event
WHERE payment_id = %(id)s ORDER BY hold_event_id
"""
_REJECTION = """
SELECT payment_id, entity_id, external_id, fingerprint, code, detail, figures, intent, rejected_at
FROM payment_rejection WHERE payment_id = %(id)s
"""
_RELATED = """
SELECT payment_id, kind, actor, posted_at FROM ledger_transaction
WHERE relates_to = %(id)s ORDER BY chain_seq LIMIT 1000
"""
_LIMITS = """
SELECT account_id, -overdraft_limit_minor, status FROM account WHERE account_id = ANY(%(accounts)s) ORDER BY account_id
"""
_CONFLICTS = """
SELECT account_id, retries, exhausted, last_at FROM conflict_count
WHERE account_id = ANY(%(accounts)s) ORDER BY account_id
"""
_FIRST_RUN = """
SELECT run_id, mode, started_at, finished_at, break_count FROM reconciliation_run
WHERE started_at >= %(at)s AND finished_at IS NOT NULL AND mode IN ('incremental', 'full')
ORDER BY run_id LIMIT 1
"""
_LAST_FULL_RUN = """
SELECT run_id, mode, started_at, finished_at, break_count FROM reconciliation_run
WHERE started_at >= %(at)s AND finished_at IS NOT NULL AND mode = 'full' ORDER BY run_id DESC LIMIT 1
"""
_BREAKS = """
SELECT break_id FROM reconciliation_break WHERE subject = ANY(%(subjects)s) ORDER BY break_id LIMIT 100
"""
_CALL = """
SELECT called_at, action, request_id, coalesce(actor, 'key:' || key_id), host(ip), method, route, path, status, code,
    duration_us
"""
_CALLS = (
    f"""{_CALL} FROM audit_call WHERE payment_id = %(id)s AND action IS NOT NULL ORDER BY called_at, number LIMIT 100"""
)
_REFUSED_CALLS = f"""{_CALL}, response FROM audit_call JOIN api_key k USING (key_id)
WHERE external_id = %(external_id)s AND action IS NULL AND code IS NOT NULL AND method = 'POST'
    AND (entity_id = %(entity_id)s OR entity_id IS NULL AND CASE
        WHEN %(entities)s::text[] IS NULL THEN k.entities IS NULL OR %(entity_id)s = ANY(k.entities)
        ELSE k.entities <@ %(entities)s::text[] AND %(entity_id)s = ANY(k.entities) END)
ORDER BY called_at DESC, number DESC LIMIT 20
"""

_DELIVERIES = """
SELECT event_id, event_type, endpoint_id, split_part(url, '?', 1), number, started_at, duration_ms, status, is_delivered
FROM webhook_attempt WHERE event_id IN (
    SELECT 'evt_' || partition || '_' || chain_seq FROM ledger_transaction WHERE payment_id = %(id)s
    UNION ALL SELECT 'evt_' || partition || '_' || chain_seq FROM ledger_transaction WHERE relates_to = %(id)s
    UNION ALL SELECT 'evt_hold_' || hold_event_id FROM hold_event WHERE payment_id = %(id)s
    UNION ALL SELECT 'evt_rejected_' || %(id)s::text
) ORDER BY attempt_id LIMIT 100
"""


class LedgerEvidence:
    """Reads what is on record."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def transaction(self, payment_id: str) -> TransactionRecord | None:
        """A ledger transaction with its entries, exactly as it was hashed; None if there is none of this id."""
        row = self._first(_TRANSACTION, {"id": payment_id})
        if row is None:
            return None
        *facts, previous_hash, own_hash = row
        place = {"partition": facts[0], "chain_seq": facts[1]}
        entries = [EntryRecord(*one) for one in self._rows(_ENTRIES, place)]
        return TransactionRecord(tuple(facts), entries, bytes(previous_hash), bytes(own_hash))

    def original_of(self, payment_id: str) -> str:
        """The payment that an id stands for: another one if it is a late repeat."""
        row = self._first(_ORIGINAL, {"id": payment_id})
        return payment_id if row is None else str(row[0])

    def id_of(self, entity_id: str, external_id: str) -> str | None:
        """The id of what is posted, authorized or rejected under an external id; None if the ledger has nothing."""
        row = self._first(_OF_EXTERNAL_ID, {"entity_id": entity_id, "external_id": external_id})
        return None if row is None else str(row[0])

    def repeats(self, payment_id: str) -> list[str]:
        """The late repeats of a payment, which were not posted again; at most a hundred."""
        return [row[0] for row in self._rows(_REPEATS, {"id": payment_id})]

    def authorization(self, payment_id: str) -> AuthorizationRecord | None:
        """An authorization with its history."""
        row = self._first(_AUTHORIZATION, {"id": payment_id})
        if row is None:
            return None
        events = [EventRecord(*one) for one in self._rows(_EVENTS, {"id": payment_id})]
        return AuthorizationRecord(*[*row, events])

    def rejection(self, payment_id: str) -> RejectionRecord | None:
        """A payment that the ledger has rejected."""
        row = self._first(_REJECTION, {"id": payment_id})
        return None if row is None else RejectionRecord(*row)

    def related(self, payment_id: str) -> list[RelatedRecord]:
        """What was posted later about a payment or a journal: refunds, journals, a reversal; at most a thousand."""
        return [RelatedRecord(*row) for row in self._rows(_RELATED, {"id": payment_id})]

    def limits(self, account_ids: Sequence[str]) -> list[LimitRecord]:
        """Floor and status of accounts, as they are now."""
        return [LimitRecord(*row) for row in self._rows(_LIMITS, {"accounts": list(account_ids)})]

    def conflicts(self, account_ids: Sequence[str]) -> list[ConflictRecord]:
        """How often posting had to try again on accounts, in all."""
        return [ConflictRecord(*row) for row in self._rows(_CONFLICTS, {"accounts": list(account_ids)})]

    def runs_since(self, posted_at: Any) -> list[RunRecord]:
        """The first reconciliation after a moment, and the last full one; they may be the same."""
        rows = [tuple(row) for query in (_FIRST_RUN, _LAST_FULL_RUN) for row in self._rows(query, {"at": posted_at})]
        return [RunRecord(*row) for row in dict.fromkeys(rows)]

    def breaks(self, subjects: Sequence[str]) -> list[int]:
        """The ids of the breaks that name one of these subjects."""
        return [row[0] for row in self._rows(_BREAKS, {"subjects": list(subjects)})]

    def calls_of(self, payment_id: str) -> list[CallRecord]:
        """The audit's records of the calls that made it and changed it, in order; at most a hundred."""
        return [CallRecord(*row) for row in self._rows(_CALLS, {"id": payment_id})]

    def deliveries_of(self, payment_id: str) -> list[DeliveryRecord]:
        """The attempts to deliver events of it by webhook, in order; at most a hundred."""
        return [DeliveryRecord(*row) for row in self._rows(_DELIVERIES, {"id": payment_id})]

    def refused_calls(
        self, entity_id: str, external_id: str, entities: Collection[str] | None = None
    ) -> list[RefusedCall]:
        """The audit's records of calls that were refused under an external id, the last one first; at most twenty.

        The audit seldom knows the entity of a refused call. One without counts for every entity that its key reaches;
        for a caller that sees these `entities` only, it must be by a key that reaches no others, as in the audit.
        """
        seen = None if entities is None else sorted(entities)
        parameters = {"entity_id": entity_id, "external_id": external_id, "entities": seen}
        return [RefusedCall(CallRecord(*row[:-1]), row[-1]) for row in self._rows(_REFUSED_CALLS, parameters)]

    def _first(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Any] | None:
        return next(iter(self._rows(query, parameters)), None)
