"""What a proof reads from the ledger: the ledger compared with itself, and what the cache is compared with."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from app.domain.breaks import Break, BreakKind, ChainRange
from app.ledger.connections import LedgerConnection
from app.ledger.cross_checks import CROSS_CHECKS
from app.ledger.hash_chain import LedgerChains
from app.ledger.hydration_rows import FOR_HYDRATION, Hydration, hydration_from
from app.ledger.proof_records import ProofRecords

SUSPECTS_AT_ONCE = 500

ENTRIES_AGAIN = 50_000
"""The entries of one account that an incremental run walks over again: some tenths of a second."""

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
_SHORT_ACCOUNTS = """
SELECT account_id FROM unnest(%s::text[]) AS wanted (account_id)
WHERE (SELECT count(*) FROM (SELECT FROM entry e WHERE e.account_id = wanted.account_id LIMIT %s) few) <= %s
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
        bool_and(balance_minor = balance_before - amount_minor) AS rises_with_credits,
        min(entry_currency COLLATE "C") AS least_currency, max(entry_currency COLLATE "C") AS greatest_currency
    FROM (SELECT account_id, amount_minor, balance_minor, entry_currency, CASE
            WHEN entry_number = 1 THEN 0
            WHEN number_before = entry_number - 1 THEN listed_before
            ELSE (SELECT before.balance_minor FROM entry before
                WHERE before.account_id = listed.account_id AND before.entry_number = listed.entry_number - 1)
            END AS balance_before
        FROM (SELECT e.account_id, e.entry_number, e.amount_minor, e.balance_minor, e.currency_code AS entry_currency,
                lag(e.entry_number) OVER account AS number_before, lag(e.balance_minor) OVER account AS listed_before
            FROM unnest(%s::smallint[], %s::bigint[], %s::bigint[]) AS part (partition, after, up_to)
            JOIN entry e ON e.partition = part.partition AND e.chain_seq > part.after AND e.chain_seq <= part.up_to
            WINDOW account AS (PARTITION BY e.account_id ORDER BY e.entry_number)) listed
        OFFSET 0) walked -- else each use of the looked up balance would look it up
    GROUP BY account_id) e LEFT JOIN account_balance b USING (account_id)
WHERE b.normal_sign IS NULL OR NOT numbered OR least_currency <> b.currency_code OR greatest_currency <> b.currency_code
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
# Where no range looks: in partitions that have no transaction, behind the last one, and before the first.
_STRAY_ENTRIES = """
WITH RECURSIVE written (partition) AS (
    SELECT min(partition) FROM entry
    UNION ALL
    SELECT (SELECT min(e.partition) FROM entry e WHERE e.partition > w.partition) FROM written w
    WHERE w.partition IS NOT NULL
)
SELECT e.partition, e.chain_seq, count(*)
FROM written w LEFT JOIN unnest(%s::smallint[], %s::bigint[]) AS part (partition, up_to) USING (partition)
CROSS JOIN LATERAL (
    SELECT partition, chain_seq FROM entry l WHERE l.partition = w.partition AND l.chain_seq > coalesce(part.up_to, 0)
    UNION ALL SELECT partition, chain_seq FROM entry l WHERE l.partition = w.partition AND l.chain_seq < 1
) e
WHERE NOT EXISTS (SELECT FROM ledger_transaction t WHERE t.partition = e.partition AND t.chain_seq = e.chain_seq)
GROUP BY e.partition, e.chain_seq
"""
_FOREIGN_CURRENCY = """
SELECT e.account_id, e.entry_number, e.currency_code, b.currency_code
FROM entry e JOIN account_balance b USING (account_id)
WHERE e.account_id = ANY(%s) AND e.currency_code <> b.currency_code
"""
_TRIAL_BALANCE = """
SELECT entity_id, currency_code, sum(normal_sign * balance_minor) FROM account_balance
GROUP BY entity_id, currency_code HAVING sum(normal_sign * balance_minor) <> 0
"""
BALANCES_AT = """
SELECT w.account_id, b.entry_count, b.floor_minor, CASE WHEN w.entry_number = 0 THEN 0 ELSE e.balance_minor END
FROM unnest(%s::text[], %s::bigint[]) AS w (account_id, entry_number)
LEFT JOIN account_balance b USING (account_id)
LEFT JOIN entry e ON e.account_id = w.account_id AND e.entry_number = w.entry_number
"""
_SETTLED = """
SELECT payment_id FROM ledger_transaction WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM payment_rejection WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM payment_duplicate WHERE payment_id = ANY(%(ids)s)
UNION SELECT payment_id FROM hold WHERE payment_id = ANY(%(ids)s)
UNION SELECT intent_id FROM hold_event WHERE intent_id = ANY(%(ids)s)
"""
_OPEN_AUTHORIZATIONS = """
SELECT guarded_account_id, payment_id, hold_minor FROM hold
WHERE guarded_account_id = ANY(%s) AND state = 'authorized' AND hold_minor > 0
"""


def settled_payments(ledger: LedgerConnection, payment_ids: Collection[str]) -> set[str]:
    """Which of these payments the ledger has answered, in one way or another."""
    return {row[0] for row in ledger.rows(_SETTLED, {"ids": list(payment_ids)})}


class LedgerReconciliation(LedgerChains):
    """Reads the ledger for proofs that it is right and that the cache agrees. `records` keep what was found."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.records = ProofRecords(self._ledger)

    def touched(self, part: ChainRange) -> list[str]:
        """The accounts with entries in a range."""
        return [row[0] for row in self._ledger.rows(_TOUCHED, (part.partition, part.after, part.up_to))]

    def account_breaks(self) -> Iterator[Break]:
        """Over all entries: balances that are not the sum of their entries, entries that do not follow, orphans.

        One pass over the entries in the order of their accounts names the suspects; what is wrong with them is
        asked afterwards.
        """
        # Sorting all entries costs half of fetching each by an index: they lie in another order.
        for account_ids in self._suspects(_SUSPECT_ACCOUNTS, (), without="indexscan"):
            yield from self.breaks_of_accounts(account_ids)

    def short_accounts(self, account_ids: Sequence[str]) -> list[str]:
        """Those of these accounts with few enough entries that an incremental run may walk over all of them."""
        return [
            row[0] for row in self._ledger.rows(_SHORT_ACCOUNTS, (list(account_ids), ENTRIES_AGAIN + 1, ENTRIES_AGAIN))
        ]

    def breaks_of_accounts(self, account_ids: Sequence[str]) -> Iterator[Break]:
        """What is wrong with these accounts, over all of their entries."""
        yield from self._running_breaks(account_ids)
        yield from self._balance_breaks(account_ids)

    def _suspects(self, query: str, parameters: Sequence[Any], *, without: str) -> Iterator[list[str]]:
        """The accounts that a walk over their entries names, some at a time; the planner is kept from one way."""
        with self._ledger.transaction() as connection:
            connection.execute(f"SET LOCAL enable_{without} = off")
            connection.execute(f"SET LOCAL work_mem = '{SORT_MEMORY}'")
            found = [row[0] for row in connection.execute(query, parameters)]
        for start in range(0, len(found), SUSPECTS_AT_ONCE):
            yield found[start : start + SUSPECTS_AT_ONCE]

    def _balance_breaks(self, account_ids: Sequence[str]) -> Iterator[Break]:
        accounts = {"accounts": account_ids}
        for account_id, balance, count, entry_sum, number, last in self._ledger.rows(_BALANCE_BREAKS, accounts):
            figures = {"balance_minor": balance, "entry_sum_minor": int(entry_sum), "entry_count": count}
            kind = BreakKind.BALANCE_NOT_SUM if balance != entry_sum else BreakKind.ENTRY_GAP
            yield Break(kind, account_id, figures | {"entries": number, "last_entry_number": last}, account_id)
        for account_id, number in self._ledger.rows(_ORPHAN_ACCOUNTS, accounts):
            yield Break(BreakKind.ORPHAN_ENTRY, account_id, {"entries": number}, account_id)

    def touched_balance_breaks(self, account_ids: Sequence[str]) -> Iterator[Break]:
        """Of these accounts, those whose balance is not their last entry's."""
        for account_id, balance, count, entry_balance in self._ledger.rows(_TOUCHED_BREAKS, (list(account_ids),)):
            figures = {"balance_minor": balance, "entry_count": count, "last_entry_balance_minor": entry_balance}
            kind = BreakKind.BALANCE_NOT_SUM if balance != entry_balance else BreakKind.ENTRY_GAP
            yield Break(kind, account_id, figures, account_id)

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
            for account_id, number, found, expected in self._ledger.rows(_FOREIGN_CURRENCY, (account_ids,)):
                figures = {"currency_code": found, "account_currency_code": expected}
                yield Break(BreakKind.ENTRY_MISMATCH, f"{account_id}#{number}", figures, account_id)

    def _running_breaks(self, account_ids: Sequence[str]) -> Iterator[Break]:
        for account_id, number, balance, expected, gap in self._ledger.rows(_RUNNING_BREAKS, (account_ids,)):
            kind = BreakKind.ENTRY_GAP if gap else BreakKind.ENTRY_RUNNING_BALANCE
            figures = {"balance_minor": balance, "expected_minor": None if expected is None else int(expected)}
            yield Break(kind, f"{account_id}#{number}", figures, account_id)

    def transaction_breaks(self, part: ChainRange) -> Iterator[Break]:
        """Transactions of a range that do not balance, and entries without a transaction."""
        named = {"p": part.partition, "a": part.after, "u": part.up_to}
        for chain_seq, entries, difference, orphan in self._ledger.rows(_UNBALANCED, named):
            figures = {"entries": int(entries or 0), "difference_minor": int(difference or 0)}
            kind = BreakKind.ORPHAN_ENTRY if orphan else BreakKind.TRANSACTION_UNBALANCED
            yield Break(kind, f"{part.partition}/{chain_seq}", figures)

    def stray_entries(self, ranges: Sequence[ChainRange]) -> Iterator[Break]:
        """Entries without a transaction where no range looks: of any partition, after its last transaction."""
        columns = [part.partition for part in ranges], [part.up_to for part in ranges]
        for partition, chain_seq, entries in self._ledger.rows(_STRAY_ENTRIES, columns):
            yield Break(BreakKind.ORPHAN_ENTRY, f"{partition}/{chain_seq}", {"entries": entries})

    def cross_breaks(self) -> Iterator[Break]:
        """What tables that must agree say differently."""
        for kind, query in CROSS_CHECKS:
            for subject, figures in self._ledger.rows(query, ()):
                yield Break(kind, subject, figures, _account_in(kind, subject))

    def trial_balance_breaks(self) -> Iterator[Break]:
        """Currencies whose debits and credits differ."""
        for entity_id, currency_code, difference in self._ledger.rows(_TRIAL_BALANCE, ()):
            yield Break(BreakKind.TRIAL_BALANCE, f"{entity_id}/{currency_code}", {"difference_minor": int(difference)})

    def balances_at(self, points: Sequence[tuple[str, int]]) -> dict[str, tuple[int | None, int | None, int | None]]:
        """For (account, entry number): the ledger's entry count, floor, and balance at that entry."""
        accounts, numbers = [point[0] for point in points], [point[1] for point in points]
        rows = self._ledger.rows(BALANCES_AT, (accounts, numbers))
        return {account_id: (count, floor, balance) for account_id, count, floor, balance in rows}

    def settled_floor(self, account_id: str) -> int | None:
        """An account's floor, once whatever is just being changed or posted on it is committed or given up."""
        query = "SELECT floor_minor FROM account_balance WHERE account_id = %s FOR SHARE"
        row = next(iter(self._ledger.rows(query, (account_id,))), None)
        return None if row is None else row[0]

    def settled(self, payment_ids: Sequence[str]) -> set[str]:
        """Which of these payments the ledger has answered."""
        return settled_payments(self._ledger, payment_ids)

    def open_authorizations(self, account_ids: Sequence[str]) -> dict[str, dict[str, int]]:
        """The amounts that open authorizations hold on these accounts: by account, by payment id."""
        found: dict[str, dict[str, int]] = {}
        for account_id, payment_id, hold_minor in self._ledger.rows(_OPEN_AUTHORIZATIONS, (list(account_ids),)):
            found.setdefault(account_id, {})[payment_id] = hold_minor
        return found

    def balances_for_hydration(self, account_ids: Sequence[str]) -> Hydration:
        """What the cache is told of these accounts when it is rebuilt."""
        return hydration_from(self._ledger.rows(FOR_HYDRATION, (list(account_ids),)))


def _account_in(kind: BreakKind, subject: str) -> str | None:
    """The account that the subject of a cross check names."""
    if kind is BreakKind.ENTRY_MISMATCH:
        return subject.rpartition("#")[0]
    return subject if kind is BreakKind.ACCOUNT_MISMATCH else None
