"""The locked posting transaction: it locks first, then it writes; one batch, all or nothing.

Besides transactions and entries it writes authorizations, returns, rejections and duplicates. An authorization keeps
its metadata as json and not as jsonb. A capture puts the text into a transaction, whose hash covers it, so the text
must come back exactly as it went in.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Json, Jsonb

from app.domain.audit import Action
from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.errors import Fault
from app.domain.ledger_rows import (
    ChainHead,
    Duplicate,
    KnownOutcome,
    LedgerBalance,
    PostingPlan,
    QueuedIntent,
    Rejection,
)
from app.domain.payment import Intent, Leg
from app.domain.refusals import RefusalCode
from app.domain.spans import batch_span
from app.domain.timestamps import to_milliseconds
from app.ledger.audit_copy import COPY_CALLS, calls_copy, origins_of
from app.ledger.audit_records import record_change
from app.ledger.copy_format import (
    COPY_ENTRIES,
    COPY_TRANSACTIONS,
    array,
    balance_changes,
    copy_in,
    entries_copy,
    new_heads,
    numbers,
    transactions_copy,
)
from app.ledger.metrics import BATCH_PAYMENTS
from app.ledger.sql_comments import named

READ_BALANCES = """
SELECT account_id, entity_id, currency_code, normal_sign, balance_minor, floor_minor, version, entry_count, updated_at
FROM account_balance WHERE account_id = ANY(%s::text[])
"""
_LOCK_BALANCES = READ_BALANCES + "ORDER BY account_id FOR UPDATE SKIP LOCKED"
_KNOWN_OUTCOMES = """
SELECT entity_id, external_id, payment_id, fingerprint, true AS posted, '' AS code, kind = 'capture' AS is_concluded
FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
JOIN ledger_transaction USING (entity_id, external_id)
UNION ALL
SELECT entity_id, external_id, payment_id, fingerprint, false, code, false
FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
JOIN payment_rejection USING (entity_id, external_id)
UNION ALL
SELECT entity_id, external_id, payment_id, fingerprint, true, '', state <> 'authorized'
FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
JOIN hold USING (entity_id, external_id)
"""
_OF_ANOTHER_PAYMENT = frozenset({RefusalCode.EXTERNAL_ID_REUSED, RefusalCode.EXTERNAL_ID_REFUSED})
"""Rejections that say nothing about the first payment of the external id, which may still be pending."""
_ADD_TO_BALANCES = """
UPDATE account_balance AS b
SET balance_minor = b.balance_minor + d.delta, entry_count = b.entry_count + d.entries,
    version = b.version + d.versions, updated_at = %(posted_at)s
FROM unnest(%(accounts)s::text[], %(deltas)s::bigint[], %(entries)s::bigint[], %(versions)s::bigint[])
    AS d (account_id, delta, entries, versions)
WHERE b.account_id = d.account_id
RETURNING b.account_id, b.balance_minor, b.entry_count
"""
_APPROVE = """
INSERT INTO journal_decision (proposal_id, decision, decided_by, journal_id) VALUES (%s, 'approved', %s, %s)
"""
_LOCK_HOLDS = """
SELECT payment_id, entity_id, external_id, fingerprint, guarded_account_id, hold_minor, currency_code, legs, state,
    expires_at, captured_minor, concluded_by, actor, description, effective_at, metadata, accepted_at, concluded_at
FROM hold WHERE payment_id = ANY(%s) ORDER BY payment_id FOR UPDATE
"""
_ADVANCE_HEADS = """
UPDATE partition AS p
SET chain_seq = h.chain_seq, chain_hash = h.chain_hash, last_position = h.last_position,
    last_posted_at = h.last_posted_at
FROM unnest(%(partitions)s::smallint[], %(seqs)s::bigint[], %(hashes)s::bytea[], %(positions)s::text[],
    %(last_posted_at)s::timestamptz[]) AS h (partition, chain_seq, chain_hash, last_position, last_posted_at)
WHERE p.partition = h.partition
"""
_INSERT_REJECTION = """
INSERT INTO payment_rejection (payment_id, entity_id, external_id, fingerprint, code, detail, figures, intent)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_DUPLICATE = """
INSERT INTO payment_duplicate (payment_id, original_payment_id) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""
_INSERT_HOLD = """
INSERT INTO hold (payment_id, entity_id, external_id, fingerprint, guarded_account_id, hold_minor, currency_code, legs,
    expires_at, actor, description, effective_at, metadata, accepted_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_CONCLUDE_HOLD = """
UPDATE hold SET state = %s, captured_minor = %s, concluded_by = %s, concluded_at = %s WHERE payment_id = %s
"""
_INSERT_HOLD_EVENTS = """
INSERT INTO hold_event (payment_id, state, amount_minor, actor, intent_id)
SELECT payment_id, state, amount_minor, actor, intent_id
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[]) WITH ORDINALITY
    AS e (payment_id, state, amount_minor, actor, intent_id, number) ORDER BY number
"""
"""One statement for all of a batch: a trigger writes what each statement adds to the feed."""
_INSERT_RETURN = """
INSERT INTO payment_return (partition, chain_seq, payment_id, account_id, amount_minor, returned_minor)
VALUES (%s, %s, %s, %s, %s, %s)
"""


class BalanceMismatch(Fault):
    """The balances that the database returned differ from the plan; the batch is rolled back."""


class Posting:
    """One open posting transaction that has locked the rows of `heads`."""

    def __init__(self, connection: psycopg.Connection[Any], heads: dict[int, ChainHead]) -> None:
        self._connection = connection
        self.heads = heads

    def known_outcomes(self, keys: Sequence[tuple[str, str]]) -> tuple[dict[tuple[str, str], KnownOutcome], set[str]]:
        """What the ledger has under these (entity, external id) keys, and the payment ids rejected under them."""
        parameters = {"entities": array([key[0] for key in keys]), "externals": array([key[1] for key in keys])}
        known: dict[tuple[str, str], KnownOutcome] = {}
        rejected: set[str] = set()
        for entity_id, external_id, payment_id, fingerprint, posted, code, is_concluded in self._connection.execute(
            _KNOWN_OUTCOMES, parameters
        ):
            if posted:
                known[entity_id, external_id] = KnownOutcome(payment_id, fingerprint, True, is_concluded)
            else:
                rejected.add(payment_id)
                if code in _OF_ANOTHER_PAYMENT:
                    continue
                known.setdefault((entity_id, external_id), KnownOutcome(payment_id, fingerprint, posted=False))
        return known, rejected

    def lock_balances(self, account_ids: Sequence[str]) -> tuple[dict[str, LedgerBalance], set[str]]:
        """Lock these accounts' rows, in this order; returns them, and the accounts that somebody else has locked."""
        rows = self._connection.execute(_LOCK_BALANCES, (array(account_ids),)).fetchall()
        locked = {row[0]: LedgerBalance(*row) for row in rows}
        missing = [account_id for account_id in account_ids if account_id not in locked]
        if not missing:
            return locked, set()
        contended = {row[0] for row in self._connection.execute(READ_BALANCES, (array(missing),))}
        return locked, contended

    def lock_authorizations(self, payment_ids: Sequence[str]) -> dict[str, Authorization]:
        """Lock these authorizations; those that the ledger does not have are left out."""
        if not payment_ids:
            return {}
        rows = self._connection.execute(_LOCK_HOLDS, (list(payment_ids),))
        return {row[0]: authorization_from_row(row) for row in rows}

    def posting_time(self, balances: dict[str, LedgerBalance]) -> datetime:
        """The database's time, read after the locks were taken, and never before a time in the locked rows."""
        row = self._connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        latest = [head.last_posted_at for head in self.heads.values()]
        latest += [balance.updated_at for balance in balances.values()]
        moment: datetime = max(row[0], *latest)
        return moment

    def write(self, plan: PostingPlan) -> None:
        """Write the plan; BalanceMismatch if a balance is not as planned afterwards."""
        BATCH_PAYMENTS.observe(len(plan.posted))
        refused = [*(one.queued for one in plan.rejections), *(one.queued for one in plan.duplicates)]
        origins = origins_of([*plan.posted, *refused])
        with batch_span("post", origins):
            self._write(plan, origins)

    def _write(self, plan: PostingPlan, origins: Sequence[str]) -> None:
        if plan.balances:
            self._add_to_balances(plan)
            self._advance_heads(plan)  # first: the database takes only transactions that end at their chain's head
            copy_in(self._connection, COPY_TRANSACTIONS, transactions_copy(plan.transactions))
            copy_in(self._connection, COPY_ENTRIES, entries_copy(plan.entries))
            record_authorizations(self._connection, plan)
            record_returns(self._connection, plan)
        record_rejections(self._connection, plan.rejections)
        duplicates = record_duplicates(self._connection, plan.duplicates)
        if plan.posted or plan.rejections or duplicates:
            calls = calls_copy(plan.posted, plan.rejections, duplicates, to_milliseconds(plan.posted_at))
            copy_in(self._connection, named(COPY_CALLS, origins), calls)

    def record_journal(self, action: Action, actor: str, entity_id: str, external_id: str, journal_id: str) -> None:
        """Record the call that has a journal, a reversal or a refund posted; its entries are in the ledger."""
        record_change(
            self._connection.execute,
            action,
            actor,
            entity_id=entity_id,
            external_id=external_id,
            payment_id=journal_id,
        )

    def approve(self, proposal_id: int, actor: str, journal_id: str) -> None:
        """Decide the proposal of a journal that is being posted; the database looks whether the actor may."""
        self._connection.execute(_APPROVE, (proposal_id, actor, journal_id))

    def _add_to_balances(self, plan: PostingPlan) -> None:
        pairs = zip(plan.balances_before, plan.balances.values(), strict=True)
        parameters = {**balance_changes(plan), "versions": numbers([row.version - old.version for old, row in pairs])}
        rows = self._connection.execute(_ADD_TO_BALANCES, parameters).fetchall()
        written = {account_id: (balance, count) for account_id, balance, count in rows}
        for account_id, row in plan.balances.items():
            if written.get(account_id) != (row.balance_minor, row.entry_count):
                raise BalanceMismatch(f"account {account_id!r}: {written.get(account_id)} written, {row} planned")

    def _advance_heads(self, plan: PostingPlan) -> None:
        last_posted_at = [head.last_posted_at for head in plan.heads.values()]
        self._connection.execute(_ADVANCE_HEADS, {**new_heads(plan), "last_posted_at": last_posted_at})


def authorization_from_row(row: Sequence[Any]) -> Authorization:
    """An authorization from a row of its table, with all columns in order."""
    fields = list(row)
    fields[7] = [Leg(account_id, amount_minor) for account_id, amount_minor in fields[7]]
    fields[8] = AuthorizationState(fields[8])
    return Authorization(*fields)


def record_authorizations(connection: psycopg.Connection[Any], plan: PostingPlan) -> None:
    """Write the authorizations that a plan makes and concludes, and their history."""
    events = [_event_of_authorization(one) for one in plan.authorized]
    events += [_event_of_conclusion(one) for one in plan.concluded]
    with connection.cursor() as cursor:
        if plan.authorized:
            cursor.executemany(_INSERT_HOLD, [_row_of(one) for one in plan.authorized])
        if plan.concluded:
            cursor.executemany(_CONCLUDE_HOLD, [_conclusion_of(one) for one in plan.concluded])
        if events:
            cursor.execute(_INSERT_HOLD_EVENTS, [list(column) for column in zip(*events, strict=True)])


def _row_of(one: Authorization) -> tuple[Any, ...]:
    return (
        one.payment_id,
        one.entity_id,
        one.external_id,
        one.fingerprint,
        one.guarded_account_id,
        one.hold_minor,
        one.currency_code,
        Jsonb([[leg.account_id, leg.amount_minor] for leg in one.legs]),
        one.expires_at,
        one.actor,
        one.description,
        one.effective_at,
        None if one.metadata is None else Json(one.metadata),
        one.accepted_at,
    )


def _conclusion_of(one: Authorization) -> tuple[Any, ...]:
    return one.state, one.captured_minor, one.concluded_by, one.concluded_at, one.payment_id


def _event_of_authorization(one: Authorization) -> tuple[Any, ...]:
    return one.payment_id, AuthorizationState.AUTHORIZED, one.hold_minor, one.actor, one.payment_id


def _event_of_conclusion(one: Authorization) -> tuple[Any, ...]:
    return one.payment_id, one.state, one.captured_minor or 0, one.concluding_actor, one.concluded_by or ""


def record_returns(connection: psycopg.Connection[Any], plan: PostingPlan) -> None:
    """Write what a plan takes back of payments; a trigger refuses a sum that does not follow from the one before."""
    if not plan.returns:
        return
    rows = [
        (partition, chain_seq, one.payment_id, one.account_id, one.amount_minor, one.returned_minor)
        for partition, chain_seq, one in plan.returns
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT_RETURN, rows)


def record_rejections(connection: psycopg.Connection[Any], rejections: Sequence[Rejection]) -> None:
    """Write what the ledger refuses, with the reason and the whole intent."""
    for rejection in rejections:
        intent, refusal = rejection.queued.intent, rejection.refusal
        connection.execute(
            _INSERT_REJECTION,
            (
                rejection.queued.outbox_position.payment_id,
                intent.entity_id,
                intent.external_id,
                intent.fingerprint,
                refusal.code.value,
                _storable(refusal.detail),
                Jsonb(_storable(dict(refusal.figures))),
                Jsonb(_storable(_document(intent))),
            ),
        )


def record_duplicates(connection: psycopg.Connection[Any], duplicates: Sequence[Duplicate]) -> list[QueuedIntent]:
    """Write which payment each late repeat belongs to; returns those that were not written before."""
    written = []
    for duplicate in duplicates:
        row = duplicate.queued.outbox_position.payment_id, duplicate.original_payment_id
        if connection.execute(_INSERT_DUPLICATE, row).rowcount:
            written.append(duplicate.queued)
    return written


def _document(intent: Intent) -> dict[str, Any]:
    """A refused intent as it is stored beside the reason."""
    return {
        "kind": intent.kind,
        "guarded_account_id": intent.guarded_account_id,
        "hold_minor": intent.hold_minor,
        "currency_code": intent.currency_code,
        "legs": [{"account_id": leg.account_id, "amount_minor": leg.amount_minor} for leg in intent.legs],
        "actor": intent.actor,
        "description": intent.description,
        "effective_at": intent.effective_at.isoformat() if intent.effective_at else None,
        "metadata": intent.metadata,
    }


def _storable(value: Any) -> Any:
    """The value without NUL characters: Postgres stores none in text or jsonb, and every rejection must be stored."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
