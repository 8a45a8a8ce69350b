"""The ledger as the auditor reads it, by SQL of his own, and what its breaks name as lost."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.system.harness import System
from tests.system.mixed.deeds import Legs

TRANSACTIONS = """
SELECT t.external_id, t.payment_id, t.kind, extract(epoch FROM t.accepted_at)::float8,
    array_agg(e.account_id ORDER BY e.leg), array_agg(e.amount_minor ORDER BY e.leg)
FROM ledger_transaction t JOIN entry e USING (partition, chain_seq) GROUP BY t.partition, t.chain_seq
"""
WRONG = {
    "transactions that do not sum to zero": """SELECT partition, chain_seq, sum(amount_minor) FROM entry
        GROUP BY 1, 2 HAVING sum(amount_minor) <> 0""",
    "transactions without entries": """SELECT t.payment_id FROM ledger_transaction t
        WHERE NOT EXISTS (SELECT FROM entry e WHERE (e.partition, e.chain_seq) = (t.partition, t.chain_seq))""",
    "external ids posted twice": "SELECT external_id FROM ledger_transaction GROUP BY 1 HAVING count(*) > 1",
    "balances that are not the sum of their entries": """SELECT b.account_id, b.balance_minor, s.total, s.number
        FROM account_balance b
        LEFT JOIN (SELECT account_id, sum(amount_minor) AS total, count(*) AS number FROM entry GROUP BY 1) s
        USING (account_id)
        WHERE b.balance_minor <> b.normal_sign * coalesce(s.total, 0) OR b.entry_count <> coalesce(s.number, 0)""",
    "entries that do not continue their account": """SELECT * FROM (
        SELECT e.account_id, e.entry_number, e.balance_minor, b.normal_sign * sum(e.amount_minor) OVER w AS running,
            row_number() OVER w AS place
        FROM entry e JOIN account_balance b USING (account_id)
        WINDOW w AS (PARTITION BY e.account_id ORDER BY e.entry_number)) s
        WHERE balance_minor <> running OR entry_number <> place LIMIT 20""",
    "authorizations past their time": """SELECT payment_id, expires_at FROM hold
        WHERE state = 'authorized' AND expires_at < now() - interval '30 s'""",
    "payments that were both posted and rejected": """SELECT payment_id FROM payment_rejection
        JOIN ledger_transaction USING (payment_id)""",
}
"""What no ledger may have; each query gives the culprits."""


@dataclass(slots=True)
class Posted:
    """One transaction of the ledger."""

    payment_id: str
    kind: str
    accepted_at: float
    legs: Legs


@dataclass(slots=True)
class Held:
    """An authorization of the ledger."""

    payment_id: str
    state: str
    captured_minor: int | None


@dataclass(slots=True)
class Named:
    """A break that says what a replaced cache has lost."""

    subject: str
    found_at: float
    figures: dict[str, Any]

    @property
    def count(self) -> int:
        """How many it counts."""
        return int(self.figures.get("lost_payments", 0))


@dataclass(slots=True)
class LedgerFacts:
    """Everything that the auditor compares with the journals."""

    posted: dict[str, list[Posted]] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    duplicates: dict[str, str] = field(default_factory=dict)
    holds: dict[str, list[Held]] = field(default_factory=dict)
    named: list[Named] = field(default_factory=list)
    other_breaks: list[tuple[Any, ...]] = field(default_factory=list)
    lowest: dict[str, int] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)

    @property
    def named_ids(self) -> set[str]:
        """Every payment that a break names as lost."""
        return {one for named in self.named for one in named.figures.get("payment_ids", ())}


def read(system: System) -> LedgerFacts:
    """All of the ledger that concerns payments, from one snapshot."""
    facts = LedgerFacts()
    with psycopg.connect(system.running.owner_database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for external_id, payment_id, kind, accepted_at, accounts, amounts in connection.execute(TRANSACTIONS):
            one = Posted(payment_id, kind, accepted_at, tuple(zip(accounts, map(int, amounts), strict=True)))
            facts.posted.setdefault(external_id, []).append(one)
        facts.rejected = dict(connection.execute("SELECT payment_id, code FROM payment_rejection").fetchall())
        facts.duplicates = dict(connection.execute("SELECT payment_id, original_payment_id FROM payment_duplicate"))
        for external_id, *rest in connection.execute("SELECT external_id, payment_id, state, captured_minor FROM hold"):
            facts.holds.setdefault(external_id, []).append(Held(*rest))
        breaks = connection.execute(
            """SELECT kind, subject, extract(epoch FROM first_seen_at)::float8, figures, state, reason_code
            FROM reconciliation_break ORDER BY break_id"""
        ).fetchall()
        facts.named = [Named(row[1], row[2], row[3]) for row in breaks if row[0] == "cache_lost"]
        facts.other_breaks = [row for row in breaks if row[0] != "cache_lost"]
        lowest = "SELECT account_id, min(balance_minor)::bigint FROM entry GROUP BY 1"
        facts.lowest = dict(connection.execute(lowest).fetchall())
        facts.balances = dict(connection.execute("SELECT account_id, balance_minor FROM account_balance").fetchall())
    return facts


def wrong(system: System) -> Iterable[str]:
    """What the ledger has that no ledger may have."""
    for what, query in WRONG.items():
        found = system.sql(query)
        if found:
            yield f"{what}: {len(found)}, such as {found[:3]}"
