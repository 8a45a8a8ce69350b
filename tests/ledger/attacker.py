"""Somebody who has the connection of the app's role and the program's source: the pieces of a posting, one by one."""

from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from app.domain.hash_chain import GENESIS_HASH, Entry, LedgerTransaction, chain_hash
from tests.world import World


@dataclass
class Attacker:
    """Whoever has the app's connection, and the program's source."""

    world: World
    app: psycopg.Connection[Any]

    @property
    def partition(self) -> int:
        """Alice's."""
        return self.world.cache.partition_of("alice")

    def run(self, statement: str, *parameters: Any) -> None:
        self.app.execute(statement, parameters or None)

    def one(self, query: str, *parameters: Any) -> tuple[Any, ...]:
        [row] = self.app.execute(query, parameters).fetchall()
        return tuple(row)

    # The pieces of a posting, as the program itself would write them

    def entry(self, account_id: str, amount_minor: int, **other: Any) -> Entry:
        """The next entry of an account; debit positive."""
        count, balance, sign, currency = self.one(
            "SELECT entry_count, balance_minor, normal_sign, currency_code FROM account_balance WHERE account_id = %s",
            account_id,
        )
        return replace(Entry(account_id, count + 1, amount_minor, balance + sign * amount_minor, currency), **other)

    def theft(self, amount_minor: int = 100) -> list[Entry]:
        """Money out of the bank and onto Bob."""
        return [self.entry("bank", amount_minor), self.entry("bob", -amount_minor)]

    def transaction(self, entries: list[Entry], *, partition: int | None = None, **other: Any) -> LedgerTransaction:
        """The next transaction of a chain, with a valid hash."""
        number = self.partition if partition is None else partition
        head = self.app.execute(
            "SELECT chain_seq, chain_hash FROM partition WHERE partition = %s", (number,)
        ).fetchone()
        seq, previous = head or (0, GENESIS_HASH)
        (now,) = self.one("SELECT clock_timestamp()")
        made = LedgerTransaction(
            number, seq + 1, "default", f"forged-{seq}", "payment", f"pay_{number}_{seq}_9", None, "f" * 36, "key:test",
            None, None, now, now, now, entries, bytes(previous),
        )  # fmt: skip
        made = replace(made, **other)
        made.hash = other.get("hash", chain_hash(made))
        return made

    def write_transactions(self, *transactions: LedgerTransaction) -> None:
        names = [name for name in LedgerTransaction.__slots__ if name != "entries"]
        self.insert("ledger_transaction", [{name: getattr(one, name) for name in names} for one in transactions])

    def write_entries(self, *transactions: LedgerTransaction) -> None:
        self.insert(
            "entry",
            [
                {"partition": one.partition, "chain_seq": one.chain_seq, "leg": leg, "posted_at": one.posted_at}
                | {name: getattr(entry, name) for name in Entry.__slots__}
                for one in transactions
                for leg, entry in enumerate(one.entries)
            ],
        )

    def write_balances(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.run(
                "UPDATE account_balance SET balance_minor = %s, entry_count = %s, version = version + 1"
                " WHERE account_id = %s",
                entry.balance_minor, entry.entry_number, entry.account_id,
            )  # fmt: skip

    def move_head(self, one: LedgerTransaction) -> None:
        self.run(
            "UPDATE partition SET chain_seq = %s, chain_hash = %s, last_posted_at = %s WHERE partition = %s",
            one.chain_seq, one.hash, one.posted_at, one.partition,
        )  # fmt: skip

    def post(self, one: LedgerTransaction, *, balances: bool = True) -> None:
        """All of it, as the program does."""
        if balances:
            self.write_balances(one.entries)
        self.move_head(one)
        self.write_transactions(one)
        self.write_entries(one)
        self.record(one)

    def record(self, one: LedgerTransaction, **other: Any) -> None:
        """The audit's record of it."""
        told = {
            "action": one.kind,
            "payment_id": one.payment_id,
            "actor": None,
            "key_id": one.actor.removeprefix("key:"),
        }
        self.insert("audit_call", [{"called_at": one.posted_at, "entity_id": one.entity_id, **told, **other}])

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Insert all rows in one statement, as COPY does."""
        line = sql.SQL("({})").format(sql.SQL(", ").join([sql.Placeholder()] * len(rows[0])))
        statement = sql.SQL("INSERT INTO {} ({}) VALUES {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, rows[0])),
            sql.SQL(", ").join([line] * len(rows)),
        )
        self.app.execute(statement, [value for row in rows for value in row.values()])
