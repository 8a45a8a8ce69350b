"""The locked posting transaction: it locks first, then it writes; one batch, all or nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from app.domain.authorizations import Authorization
from app.domain.errors import Fault
from app.domain.ledger_rows import ChainHead, KnownOutcome, LedgerBalance, PostingPlan
from app.domain.refusals import RefusalCode
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
from app.ledger.posting_records import (
    authorization_from_row,
    record_authorizations,
    record_duplicates,
    record_rejections,
    record_returns,
)

READ_BALANCES = """
SELECT account_id, entity_id, currency_code, normal_sign, balance_minor, floor_minor, version, entry_count, updated_at
FROM account_balance WHERE account_id = ANY(%s::text[])
"""
_LOCK_BALANCES = READ_BALANCES + "ORDER BY account_id FOR UPDATE SKIP LOCKED"
_KNOWN_OUTCOMES = """
SELECT entity_id, external_id, payment_id, fingerprint, true AS posted, '' AS code
FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
JOIN ledger_transaction USING (entity_id, external_id)
UNION ALL
SELECT entity_id, external_id, payment_id, fingerprint, false, code
FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
JOIN payment_rejection USING (entity_id, external_id)
UNION ALL
SELECT entity_id, external_id, payment_id, fingerprint, true, ''
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
        for entity_id, external_id, payment_id, fingerprint, posted, code in self._connection.execute(
            _KNOWN_OUTCOMES, parameters
        ):
            if posted:
                known[entity_id, external_id] = KnownOutcome(payment_id, fingerprint, posted=True)
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
        if plan.balances:
            self._add_to_balances(plan)
            self._advance_heads(plan)  # first: the database takes only transactions that end at their chain's head
            copy_in(self._connection, COPY_TRANSACTIONS, transactions_copy(plan.transactions))
            copy_in(self._connection, COPY_ENTRIES, entries_copy(plan.entries))
            record_authorizations(self._connection, plan)
            record_returns(self._connection, plan)
        record_rejections(self._connection, plan.rejections)
        record_duplicates(self._connection, plan.duplicates)

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
