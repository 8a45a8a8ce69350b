"""Where conflicts come from, and how many there were."""

from collections.abc import Sequence
from typing import Any

import psycopg

_CHANGED_SINCE = """
SELECT account_id FROM account_balance
WHERE account_id = ANY(%s) AND NOT pg_visible_in_snapshot(xmin::text::xid8, %s::pg_snapshot)
"""
_FREE = "SELECT account_id FROM account_balance WHERE account_id = ANY(%s) FOR UPDATE SKIP LOCKED"
_COUNT_CONFLICTS = """
INSERT INTO conflict_count AS c (account_id, retries, exhausted)
SELECT account_id, %(retries)s, %(exhausted)s FROM unnest(%(accounts)s::text[]) AS account_id ORDER BY account_id
ON CONFLICT (account_id) DO UPDATE
SET retries = c.retries + excluded.retries, exhausted = c.exhausted + excluded.exhausted, last_at = clock_timestamp()
"""


def changed_since(connection: psycopg.Connection[Any], account_ids: Sequence[str], snapshot: str) -> set[str]:
    """Those of these accounts that a transaction has changed which the snapshot did not see."""
    return {row[0] for row in connection.execute(_CHANGED_SINCE, (list(account_ids), snapshot))}


def locked_now(connection: psycopg.Connection[Any], account_ids: Sequence[str]) -> set[str]:
    """Those of these accounts that somebody else has locked."""
    free = {row[0] for row in connection.execute(_FREE, (list(account_ids),))}
    return set(account_ids) - free


def add_conflicts(
    connection: psycopg.Connection[Any], account_ids: Sequence[str], *, retries: int, exhausted: int
) -> None:
    """Add to the conflict counts of these accounts, in the open transaction, which has not begun to read."""
    # Serializable, two drains that count the same hot account at once would abort each other.
    connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    connection.execute("SET LOCAL lock_timeout = 0")
    parameters = {"accounts": list(account_ids), "retries": retries, "exhausted": exhausted}
    connection.execute(_COUNT_CONFLICTS, parameters)
