"""What a proof reads from the books, and how it keeps its runs and breaks."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from psycopg.types.json import Jsonb

from app.domain.breaks import Break, BreakKind, ChainRange, ProofReport
from app.ledger.connections import translated
from app.ledger.hash_chain import LedgerChains

SUSPECTS_AT_ONCE = 500

SORT_MEMORY = "64MB"
"""For the one sort of all entries; what does not fit goes through the disk."""

_SUSPECT_ACCOUNTS = """
SELECT account_id FROM account_balance b FULL JOIN (
    SELECT account_id, sum(amount_minor) AS total, count(*) AS number, max(entry_number) AS last,
        bool_and(entry_number = number_before + 1) AS numbered,
        bool_and(balance_minor = balance_before + amount_minor) AS rises_with_debits,
        bool_and(balance_minor = balance_before - amount_minor) AS rises_with_credits
    FROM (SELECT account_id, entry_number, amount_minor, balance_minor,
            lag(entry_number, 1, 0::bigint) OVER account AS number_before,
            lag(balance_minor, 1, 0::bigint) OVER account AS balance_before
        FROM entry WINDOW account AS (PARTITION BY account_id ORDER BY entry_number)) walked
    GROUP BY account_id) e USING (account_id)
WHERE b.normal_sign IS NULL
    OR b.balance_minor <> b.normal_sign * coalesce(e.total, 0)
    OR b.entry_count <> coalesce(e.number, 0) OR b.entry_count <> coalesce(e.last, 0)
    OR NOT e.numbered OR NOT CASE b.normal_sign WHEN 1 THEN e.rises_with_debits ELSE e.rises_with_credits END
"""
_BALANCE_BREAKS = """
SELECT b.account_id, b.balance_minor, b.entry_count, b.normal_sign * coalesce(e.total, 0) AS entry_sum,
    coalesce(e.number, 0) AS number, coalesce(e.last, 0) AS last
FROM account_balance b
LEFT JOIN (SELECT account_id, sum(amount_minor) AS total, count(*) AS number, max(entry_number) AS last
    FROM entry WHERE account_id = ANY(%(accounts)s) GROUP BY account_id) e USING (account_id)
WHERE b.account_id = ANY(%(accounts)s) AND (b.balance_minor <> b.normal_sign * coalesce(e.total, 0)
    OR b.entry_count <> coalesce(e.number, 0) OR b.entry_count <> coalesce(e.last, 0))
"""
_ORPHAN_ACCOUNTS = """
SELECT e.account_id, count(*) FROM entry e WHERE e.account_id = ANY(%(accounts)s)
    AND NOT EXISTS (SELECT FROM account_balance b WHERE b.account_id = e.account_id) GROUP BY e.account_id
"""
_TOUCHED = """
SELECT DISTINCT account_id FROM entry WHERE partition = %s AND chain_seq > %s AND chain_seq <= %s
"""
_TOUCHED_BREAKS = """
SELECT b.account_id, b.balance_minor, b.entry_count, coalesce(e.balance_minor, 0)
FROM account_balance b LEFT JOIN entry e ON e.account_id = b.account_id AND e.entry_number = b.entry_count
WHERE b.account_id = ANY(%s) AND (b.balance_minor <> coalesce(e.balance_minor, 0)
    OR (b.entry_count > 0 AND e.account_id IS NULL)
    OR EXISTS (SELECT FROM entry later WHERE later.account_id = b.account_id AND later.entry_number > b.entry_count))
"""
_NEW_SUSPECTS = """
SELECT account_id FROM (
    SELECT account_id, bool_and(balance_before IS NOT NULL) AS numbered,
        bool_and(balance_minor = balance_before + amount_minor) AS rises_with_debits,
        bool_and(balance_minor = balance_before - amount_minor) AS rises_with_credits
    FROM (SELECT account_id, amount_minor, balance_minor, CASE
            WHEN entry_number = 1 THEN 0
            WHEN number_before = entry_number - 1 THEN listed_before
            ELSE (SELECT before.balance_minor FROM entry before
                WHERE before.account_id = listed.account_id AND before.entry_number = listed.entry_number - 1)
            END AS balance_before
        FROM (SELECT e.account_id, e.entry_number, e.amount_minor, e.balance_minor,
                lag(e.entry_number) OVER account AS number_before, lag(e.balance_minor) OVER account AS listed_before
            FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[]) AS part (partition, after, up_to)
            JOIN entry e ON e.partition = part.partition AND e.chain_seq > part.after AND e.chain_seq <= part.up_to
            WINDOW account AS (PARTITION BY e.account_id ORDER BY e.entry_number)) listed
        OFFSET 0) walked -- else each use of the looked up balance would look it up
    GROUP BY account_id) e LEFT JOIN account_balance b USING (account_id)
WHERE b.normal_sign IS NULL OR NOT numbered
    OR NOT CASE b.normal_sign WHEN 1 THEN rises_with_debits ELSE rises_with_credits END
"""
_RUNNING_BREAKS = """
SELECT e.account_id, e.entry_number, e.balance_minor,
    coalesce(before.balance_minor, 0) + b.normal_sign * e.amount_minor AS expected,
    before.account_id IS NULL AND e.entry_number > 1 AS gap
FROM entry e
LEFT JOIN account_balance b ON b.account_id = e.account_id
LEFT JOIN entry before ON before.account_id = e.account_id AND before.entry_number = e.entry_number - 1
WHERE e.account_id = ANY(%s)
    AND (e.balance_minor IS DISTINCT FROM coalesce(before.balance_minor, 0) + b.normal_sign * e.amount_minor
        OR (before.account_id IS NULL AND e.entry_number > 1))
"""
_UNBALANCED = """
SELECT coalesce(t.chain_seq, e.chain_seq), e.entries, e.difference, t.chain_seq IS NULL
FROM (SELECT chain_seq FROM ledger_transaction WHERE partition = %(p)s AND chain_seq > %(a)s AND chain_seq <= %(u)s) t
FULL JOIN (SELECT chain_seq, sum(count) AS entries, max(abs(difference)) AS difference FROM
    (SELECT chain_seq, currency_code, count(*), sum(amount_minor) AS difference FROM entry
     WHERE partition = %(p)s AND chain_seq > %(a)s AND chain_seq <= %(u)s GROUP BY chain_seq, currency_code) legs
    GROUP BY chain_seq) e USING (chain_seq)
WHERE t.chain_seq IS NULL OR e.entries IS NULL OR e.entries < 2 OR e.difference <> 0
"""
_TRIAL_BALANCE = """
SELECT entity_id, currency_code, sum(normal_sign * balance_minor) FROM account_balance
GROUP BY entity_id, currency_code HAVING sum(normal_sign * balance_minor) <> 0
"""
_BALANCES_AT = """
SELECT w.account_id, b.entry_count, b.floor_minor, CASE WHEN w.entry_number = 0 THEN 0 ELSE e.balance_minor END
FROM unnest(%s::text[], %s::bigint[]) AS w (account_id, entry_number)
LEFT JOIN account_balance b USING (account_id)
LEFT JOIN entry e ON e.account_id = w.account_id AND e.entry_number = w.entry_number
"""
SETTLED = """
SELECT payment_id FROM ledger_transaction WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM payment_rejection WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM payment_duplicate WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM hold WHERE payment_id = ANY(%(ids)s)
UNION SELECT intent_id FROM hold_event WHERE intent_id = ANY(%(ids)s)
"""
"""Which payments the ledger has answered, in one way or another."""
_OPEN_AUTHORIZATIONS = """
SELECT guarded_account_id, payment_id, hold_minor FROM hold
WHERE guarded_account_id = ANY(%s) AND state = 'authorized' AND hold_minor > 0
"""
_RECORD_BREAK = """
INSERT INTO reconciliation_break AS b (kind, subject, figures, first_run_id, last_run_id)
VALUES (%(kind)s, %(subject)s, %(figures)s, %(run)s, %(run)s)
ON CONFLICT (kind, subject) WHERE state IN ('open', 'investigating')
DO UPDATE SET last_run_id = excluded.last_run_id, last_seen_at = clock_timestamp(), figures = excluded.figures
RETURNING break_id, first_run_id = %(run)s
"""
_RESOLVE_UNSEEN = """
UPDATE reconciliation_break SET state = 'resolved', reason_code = 'no_longer_seen'
WHERE state IN ('open', 'investigating') AND last_run_id < %s AND kind <> %s RETURNING break_id
"""
"""What a cache has lost, no run can see, so that one is resolved by people only."""
_BREAK_EVENT = "INSERT INTO reconciliation_break_event (break_id, actor, state, note) VALUES (%s, %s, %s, %s)"
_INVESTIGATE = """
UPDATE reconciliation_break SET state = 'investigating'
WHERE kind = %s AND subject = %s AND state IN ('open', 'investigating') RETURNING break_id
"""
_RECORD_REPAIR = """
INSERT INTO audit_event (actor, action, subject, detail, recorded_at) VALUES (%s, %s, %s, %s, clock_timestamp())
"""
RECONCILER = "reconciler"
REPAIR_ACTION = "cache.repair"


class LedgerReconciliation(LedgerChains):
    """The books, for whoever proves that they are right and that the cache agrees."""

    # Looking

    def touched(self, part: ChainRange) -> list[str]:
        """The accounts with entries in a range."""
        return [row[0] for row in self._rows(_TOUCHED, (part.partition, part.after, part.up_to))]

    def account_breaks(self) -> Iterator[Break]:
        """Over all entries: balances that are not the sum of their entries, entries that do not follow, orphans.

        One pass over the entries in the order of their accounts names the suspects; what is wrong with them is
        asked afterwards.
        """
        # Sorting all entries costs half of fetching each by an index: they lie in another order.
        for account_ids in self._suspects(_SUSPECT_ACCOUNTS, (), without="indexscan"):
            yield from self._running_breaks(account_ids)
            yield from self._balance_breaks(account_ids)

    def _suspects(self, query: str, parameters: Sequence[Any], *, without: str) -> Iterator[list[str]]:
        """The accounts that a walk over their entries names, some at a time; the planner is kept from one way."""
        with translated(), self._connected().transaction():
            self._connected().execute(f"SET LOCAL enable_{without} = off")
            self._connected().execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'")
            found = [row[0] for row in self._connected().execute(query, parameters)]
        for start in range(0, len(found), SUSPECTS_AT_ONCE):
            yield found[start : start + SUSPECTS_AT_ONCE]

    def _balance_breaks(self, account_ids: Sequence[str]) -> Iterator[Break]:
        accounts = {"accounts": account_ids}
        for account_id, balance, count, entry_sum, number, last in self._rows(_BALANCE_BREAKS, accounts):
            figures = {"balance_minor": balance, "entry_sum_minor": int(entry_sum), "entry_count": count}
            kind = BreakKind.BALANCE_NOT_SUM if balance != entry_sum else BreakKind.ENTRY_GAP
            yield Break(kind, account_id, figures | {"entries": number, "last_entry_number": last})
        for account_id, number in self._rows(_ORPHAN_ACCOUNTS, accounts):
            yield Break(BreakKind.ORPHAN_ENTRY, account_id, {"entries": number})

    def touched_balance_breaks(self, account_ids: Sequence[str]) -> Iterator[Break]:
        """Of these accounts, those whose balance is not their last entry's."""
        for account_id, balance, count, entry_balance in self._rows(_TOUCHED_BREAKS, (list(account_ids),)):
            figures = {"balance_minor": balance, "entry_count": count, "last_entry_balance_minor": entry_balance}
            kind = BreakKind.BALANCE_NOT_SUM if balance != entry_balance else BreakKind.ENTRY_GAP
            yield Break(kind, account_id, figures)

    def running_breaks(self, ranges: Sequence[ChainRange]) -> Iterator[Break]:
        """Of the accounts with entries in these ranges, the entries that do not follow from their predecessors.

        All ranges together, because an account's entries lie in several: most predecessors are among the entries then,
        and only those of the first ones are fetched.
        """
        columns = [
            [part.partition for part in ranges],
            [part.after for part in ranges],
            [part.up_to for part in ranges],
        ]
        # Books that grow fast outrun their statistics; a part of them is never worth reading them all.
        for account_ids in self._suspects(_NEW_SUSPECTS, columns, without="seqscan"):
            yield from self._running_breaks(account_ids)

    def _running_breaks(self, account_ids: Sequence[str]) -> Iterator[Break]:
        for account_id, number, balance, expected, gap in self._rows(_RUNNING_BREAKS, (account_ids,)):
            kind = BreakKind.ENTRY_GAP if gap else BreakKind.ENTRY_RUNNING_BALANCE
            figures = {"balance_minor": balance, "expected_minor": None if expected is None else int(expected)}
            yield Break(kind, f"{account_id}#{number}", figures)

    def transaction_breaks(self, part: ChainRange) -> Iterator[Break]:
        """Transactions of a range that do not balance, and entries without a transaction."""
        named = {"p": part.partition, "a": part.after, "u": part.up_to}
        for chain_seq, entries, difference, orphan in self._rows(_UNBALANCED, named):
            figures = {"entries": int(entries or 0), "difference_minor": int(difference or 0)}
            kind = BreakKind.ORPHAN_ENTRY if orphan else BreakKind.TRANSACTION_UNBALANCED
            yield Break(kind, f"{part.partition}/{chain_seq}", figures)

    def trial_balance_breaks(self) -> Iterator[Break]:
        """Currencies whose debits and credits differ."""
        for entity_id, currency_code, difference in self._rows(_TRIAL_BALANCE, ()):
            yield Break(BreakKind.TRIAL_BALANCE, f"{entity_id}/{currency_code}", {"difference_minor": int(difference)})

    def balances_at(self, points: Sequence[tuple[str, int]]) -> dict[str, tuple[int | None, int | None, int | None]]:
        """For (account, entry number): the ledger's entry count, floor, and balance at that entry."""
        accounts, numbers = [point[0] for point in points], [point[1] for point in points]
        rows = self._rows(_BALANCES_AT, (accounts, numbers))
        return {account_id: (count, floor, balance) for account_id, count, floor, balance in rows}

    def settled_floor(self, account_id: str) -> int | None:
        """An account's floor, once whatever is just being changed or posted on it is committed or given up."""
        query = "SELECT floor_minor FROM account_balance WHERE account_id = %s FOR SHARE"
        row = next(iter(self._rows(query, (account_id,))), None)
        return None if row is None else row[0]

    def settled(self, payment_ids: Sequence[str]) -> set[str]:
        """Which of these payments the books have answered."""
        return {row[0] for row in self._rows(SETTLED, {"ids": list(payment_ids)})}

    def open_authorizations(self, account_ids: Sequence[str]) -> dict[str, dict[str, int]]:
        """The amounts that open authorizations hold on these accounts: by account, by payment id."""
        found: dict[str, dict[str, int]] = {}
        for account_id, payment_id, hold_minor in self._rows(_OPEN_AUTHORIZATIONS, (list(account_ids),)):
            found.setdefault(account_id, {})[payment_id] = hold_minor
        return found

    # Keeping

    def begin_run(self, mode: str) -> int:
        """Start a run; returns its id."""
        [row] = self._rows("INSERT INTO reconciliation_run (mode) VALUES (%s) RETURNING run_id", (mode,))
        run_id: int = row[0]
        return run_id

    def record_repair(self, account_id: str, breaks: Sequence[Break], actor: str, reason: str) -> None:
        """Keep who makes an account anew in the cache, why, and what was wrong; before it is done."""
        with translated(), self._connected().transaction():
            connection = self._connected()
            detail = {"reason": reason, "breaks": [asdict(one) for one in breaks]}
            note = f"the cache is made anew from the books: {reason}"
            connection.execute(_RECORD_REPAIR, (actor, REPAIR_ACTION, account_id, Jsonb(detail)))
            for one in breaks:
                for (break_id,) in connection.execute(_INVESTIGATE, (one.kind, one.subject)).fetchall():
                    connection.execute(_BREAK_EVENT, (break_id, actor, "investigating", note))

    def finish_run(self, run_id: int, report: ProofReport, ranges: Sequence[ChainRange], *, full: bool) -> int:
        """Keep what a run found, move the cursors, export the heads; returns the number of open breaks."""
        with translated(), self._connected().transaction():
            connection = self._connected()
            for one in report.breaks:
                parameters = {"kind": one.kind, "subject": one.subject, "figures": Jsonb(one.figures), "run": run_id}
                row = connection.execute(_RECORD_BREAK, parameters).fetchone()
                if row is not None and row[1]:
                    connection.execute(_BREAK_EVENT, (row[0], RECONCILER, "open", f"found by run {run_id}"))
            if full:
                for (break_id,) in connection.execute(_RESOLVE_UNSEEN, (run_id, BreakKind.CACHE_LOST)).fetchall():
                    note = f"not seen by full run {run_id}"
                    connection.execute(_BREAK_EVENT, (break_id, RECONCILER, "resolved", note))
            for part in ranges:
                connection.execute(
                    "UPDATE reconciliation_cursor SET chain_seq = %s WHERE partition = %s AND chain_seq < %s",
                    (part.up_to, part.partition, part.up_to),
                )
            open_breaks = connection.execute(
                "SELECT count(*) FROM reconciliation_break WHERE state IN ('open', 'investigating')"
            ).fetchone()
            connection.execute(
                """UPDATE reconciliation_run SET finished_at = clock_timestamp(), checked = %s, break_count = %s
                WHERE run_id = %s""",
                (Jsonb(report.checked), len(report.breaks), run_id),
            )
        assert open_breaks is not None
        count: int = open_breaks[0]
        return count
