"""Counting conflicts: where those of a session come from, and how often and how long each account was in one.

A count is worth no write to the disk of its own: it is committed without one, and a crash of the database loses the
counts of less than a second. In each hour a bounded number of accounts is told apart, and a month of hours is kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import ConcurrencyConflict
from app.domain.heat import OTHERS
from app.ledger.connections import LedgerConnection

MOST_ACCOUNTS = 200
"""Accounts that are told apart in one hour: ten times what a page shows."""

KEPT_DAYS = 31

_CHANGED_SINCE = """
SELECT account_id FROM account_balance
WHERE account_id = ANY(%s) AND NOT pg_visible_in_snapshot(xmin::text::xid8, %s::pg_snapshot)
"""
_FREE = "SELECT account_id FROM account_balance WHERE account_id = ANY(%s) FOR UPDATE SKIP LOCKED"
_COUNT = """
INSERT INTO conflict_count AS c (account_id, retries, exhausted)
SELECT account_id, %(retries)s, %(exhausted)s FROM unnest(%(accounts)s::text[]) AS account_id ORDER BY account_id
ON CONFLICT (account_id) DO UPDATE
SET retries = c.retries + excluded.retries, exhausted = c.exhausted + excluded.exhausted, last_at = clock_timestamp()
"""
# Old hours are deleted on the way. Rows that another drain is deleting are left to it.
_COUNT_HOUR = """
WITH forgotten AS (
    DELETE FROM conflict_hour WHERE (hour, account_id) IN (
        SELECT hour, account_id FROM conflict_hour WHERE hour < now() - make_interval(days => %(days)s)
        ORDER BY hour LIMIT 500 FOR UPDATE SKIP LOCKED
    )
), present AS (
    SELECT date_trunc('hour', clock_timestamp()) AS hour
), room AS (
    SELECT count(*) < %(most)s AS is_there FROM conflict_hour WHERE hour = (SELECT hour FROM present)
)
INSERT INTO conflict_hour AS h (hour, account_id, retries, exhausted, queued_us, longest_us)
SELECT p.hour, n.name, sum(w.retries), sum(w.exhausted), sum(w.queued_us), max(w.queued_us)
FROM present p CROSS JOIN room r
CROSS JOIN unnest(%(accounts)s::text[], %(retries)s::bigint[], %(exhausted)s::bigint[], %(queued_us)s::bigint[])
    AS w (account_id, retries, exhausted, queued_us)
CROSS JOIN LATERAL (SELECT CASE WHEN r.is_there OR EXISTS (
    SELECT FROM conflict_hour k WHERE k.hour = p.hour AND k.account_id = w.account_id
) THEN w.account_id ELSE %(others)s END AS name) n
GROUP BY p.hour, n.name ORDER BY n.name
ON CONFLICT (hour, account_id) DO UPDATE
SET retries = h.retries + excluded.retries, exhausted = h.exhausted + excluded.exhausted,
    queued_us = h.queued_us + excluded.queued_us, longest_us = greatest(h.longest_us, excluded.longest_us)
"""
_PATIENTLY_TO_MEMORY = "SELECT set_config('lock_timeout', '0', true), set_config('synchronous_commit', 'off', true)"


class Conflicts:
    """Where the conflicts of a session come from, and how often each account was in one."""

    def __init__(self, ledger: LedgerConnection) -> None:
        self._ledger = ledger
        self.snapshot: str | None = None
        """What the last posting transaction could see; None if it could not lock its heads."""

    def accounts(self, account_ids: Sequence[str]) -> set[str]:
        """Those of these accounts that are locked now, or were changed since the snapshot of the last posting."""
        changed: set[str] = set()
        if self.snapshot is not None:
            rows = self._ledger.rows(_CHANGED_SINCE, (list(account_ids), self.snapshot))
            changed = {row[0] for row in rows}
        try:
            free = {row[0] for row in self._ledger.rows(_FREE, (list(account_ids),))}
        except ConcurrencyConflict:
            return changed
        return changed | (set(account_ids) - free)

    def count(self, account_ids: Sequence[str], *, retries: int, exhausted: int) -> None:
        """Add to the conflict counts of these accounts."""
        accounts = list(account_ids)
        size = len(accounts)
        totals = {"accounts": accounts, "retries": retries, "exhausted": exhausted}
        self._add(accounts, [retries] * size, [exhausted] * size, [0] * size, totals)

    def count_waits(self, waited_s: Mapping[str, float]) -> None:
        """Add how long postings have waited for each account, in seconds."""
        accounts = sorted(waited_s)
        none = [0] * len(accounts)
        self._add(accounts, none, none, [int(waited_s[one] * 1_000_000) for one in accounts], None)

    def _add(
        self,
        accounts: list[str],
        retries: list[int],
        exhausted: list[int],
        queued_us: list[int],
        totals: Mapping[str, Any] | None,
    ) -> None:
        hour = {
            "accounts": accounts,
            "retries": retries,
            "exhausted": exhausted,
            "queued_us": queued_us,
            "most": MOST_ACCOUNTS,
            "others": OTHERS,
            "days": KEPT_DAYS,
        }
        with self._ledger.transaction() as connection:
            # Serializable, two drains that count the same hot account at once would abort each other.
            connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.execute(_PATIENTLY_TO_MEMORY)
            if totals is not None:
                connection.execute(_COUNT, totals)
            connection.execute(_COUNT_HOUR, hour)
