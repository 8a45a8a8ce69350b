"""Writing a plan that was made on remembered rows: every row is compared before anything else is written."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from app.domain.errors import RowsChanged
from app.domain.ledger_rows import PostingPlan
from app.domain.timestamps import to_milliseconds
from app.ledger.audit_copy import COPY_CALLS, calls_copy, origins_of
from app.ledger.copy_format import (
    COPY_ENTRIES,
    COPY_TRANSACTIONS,
    array,
    balance_changes,
    bytes_array,
    copy_in,
    entries_copy,
    new_heads,
    numbers,
    transactions_copy,
)
from app.ledger.sql_comments import named

_ADVANCE = """
WITH advanced AS (
    UPDATE account_balance AS b
    SET balance_minor = b.balance_minor + d.delta, entry_count = b.entry_count + d.entries,
        version = b.version + d.entries, updated_at = %(posted_at)s
    FROM unnest(%(accounts)s::text[], %(deltas)s::bigint[], %(entries)s::bigint[], %(balances)s::bigint[],
        %(counts)s::bigint[], %(versions)s::bigint[]) AS d (account_id, delta, entries, balance, entry_count, version)
    WHERE b.account_id = d.account_id
    RETURNING (b.balance_minor, b.entry_count, b.version) = (d.balance, d.entry_count, d.version) AS agrees
), chained AS (
    UPDATE partition AS p
    SET chain_seq = h.chain_seq, chain_hash = h.chain_hash, last_position = h.last_position,
        last_posted_at = %(posted_at)s
    FROM unnest(%(partitions)s::smallint[], %(seqs_before)s::bigint[], %(hashes_before)s::bytea[], %(seqs)s::bigint[],
        %(hashes)s::bytea[], %(positions)s::text[])
        AS h (partition, seq_before, hash_before, chain_seq, chain_hash, last_position)
    WHERE p.partition = h.partition AND p.chain_seq = h.seq_before AND p.chain_hash = h.hash_before
    RETURNING p.partition
), wanted AS (
    SELECT * FROM unnest(%(entities)s::text[], %(externals)s::text[]) AS wanted (entity_id, external_id)
)
SELECT (SELECT count(*) FROM advanced WHERE agrees), (SELECT count(*) FROM chained),
    EXISTS (SELECT FROM wanted JOIN payment_rejection USING (entity_id, external_id)),
    EXISTS (SELECT FROM wanted JOIN hold USING (entity_id, external_id)),
    clock_timestamp()
"""


@dataclass(slots=True, frozen=True)
class PackedPlan:
    """A plan in the form in which it is sent, and how many rows must agree with it.

    Packing needs no connection, so a plan is packed while the database still writes the one before.
    """

    parameters: dict[str, Any]
    accounts: int
    heads: int
    transactions: bytes
    entries: bytes
    calls: bytes
    origins: list[str]
    """Where its payments come from."""
    payments: int


def pack(plan: PostingPlan) -> PackedPlan:
    """A plan of ordinary payments, ready to be written."""
    return PackedPlan(
        _parameters(plan),
        len(plan.balances),
        len(plan.heads),
        transactions_copy(plan.transactions),
        entries_copy(plan.entries),
        calls_copy(plan.posted, (), (), to_milliseconds(plan.posted_at)),
        origins_of(plan.posted),
        len(plan.transactions),
    )


def _parameters(plan: PostingPlan) -> dict[str, Any]:
    balances = plan.balances.values()
    return {
        **balance_changes(plan),
        "balances": numbers([row.balance_minor for row in balances]),
        "counts": numbers([row.entry_count for row in balances]),
        "versions": numbers([row.version for row in balances]),
        **new_heads(plan),
        "seqs_before": numbers([head.chain_seq for head in plan.heads_before]),
        "hashes_before": bytes_array([head.chain_hash for head in plan.heads_before]),
        "entities": array([facts[2] for facts, _, _ in plan.transactions]),
        "externals": array([facts[3] for facts, _, _ in plan.transactions]),
    }


def write_if_unchanged(connection: psycopg.Connection[Any], plan: PackedPlan) -> datetime:
    """Write a plan in the open transaction; returns the database's time.

    Raises RowsChanged if a row is not as remembered, or an external id was rejected or authorized before. The unique
    keys refuse what is posted already.
    """
    row = connection.execute(_ADVANCE, plan.parameters, prepare=True).fetchone()
    assert row is not None
    accounts, heads, rejected, authorized, now = row
    if (accounts, heads) != (plan.accounts, plan.heads) or rejected or authorized:
        raise RowsChanged(f"{accounts} of {plan.accounts} accounts and {heads} of {plan.heads} heads agree")
    copy_in(connection, COPY_TRANSACTIONS, plan.transactions)
    copy_in(connection, COPY_ENTRIES, plan.entries)
    copy_in(connection, named(COPY_CALLS, plan.origins), plan.calls)
    moment: datetime = now
    return moment
