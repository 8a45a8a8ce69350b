"""The hash in SQL is the hash in Python, to the byte, for everything that the ledger can hold."""

from datetime import UTC
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from app.domain.breaks import ChainRange, RecomputedRange
from app.domain.hash_chain import GENESIS_HASH, Entry, LedgerTransaction, canonical_json, chain_hash
from tests.world import World

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
whole = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(timezones=st.just(UTC))
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
lines = st.builds(Entry, texts, whole, whole.filter(bool), whole, texts)
transactions = st.builds(
    LedgerTransaction,
    partition=st.just(1),
    chain_seq=st.just(0),
    entity_id=texts,
    external_id=texts,
    kind=texts,
    payment_id=texts,
    relates_to=st.none() | texts,
    fingerprint=texts,
    actor=texts,
    description=st.none() | texts,
    metadata=st.none() | st.dictionaries(texts, documents, max_size=3),
    accepted_at=moments,
    effective_at=moments,
    posted_at=moments,
    entries=st.lists(lines, max_size=3),
)


def insert(world: World, table: str, row: dict[str, Any]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    values = sql.SQL(", ").join([sql.Placeholder()] * len(row))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, values)
    world.owner.execute(statement, list(row.values()))


def write(world: World, transaction: LedgerTransaction) -> None:
    """Write directly to the tables: no posting takes all that the columns take."""
    columns = {name: getattr(transaction, name) for name in LedgerTransaction.__slots__ if name != "entries"}
    if transaction.metadata is not None:
        columns["metadata"] = canonical_json(transaction.metadata)
    insert(world, "ledger_transaction", columns)
    outbox_position = {"partition": transaction.partition, "chain_seq": transaction.chain_seq}
    for leg, entry in enumerate(transaction.entries):
        line = {name: getattr(entry, name) for name in Entry.__slots__}
        insert(world, "entry", {**outbox_position, "leg": leg, **line, "posted_at": transaction.posted_at})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chain=st.lists(transactions, min_size=1, max_size=4))
def test_the_database_recomputes_what_was_hashed_here(world: World, chain: list[LedgerTransaction]) -> None:
    world.owner.execute("SET session_replication_role = replica")  # the guards refuse such rows, and to delete them
    world.owner.execute("ALTER TABLE entry DROP CONSTRAINT IF EXISTS entry_pkey")
    for unique in ("external_id", "payment_id"):
        world.owner.execute(f"ALTER TABLE ledger_transaction DROP CONSTRAINT IF EXISTS ledger_transaction_{unique}")
    world.owner.execute("DELETE FROM ledger_transaction")
    world.owner.execute("DELETE FROM entry")
    previous = GENESIS_HASH
    for number, transaction in enumerate(chain, 1):
        transaction.chain_seq, transaction.previous_hash = number, previous
        previous = transaction.hash = chain_hash(transaction)
        write(world, transaction)
    found = world.new_ledger_reconciliation().recomputed(ChainRange(1, 0, len(chain), previous), GENESIS_HASH)
    entries = sum(len(transaction.entries) for transaction in chain)
    assert found == RecomputedRange(len(chain), entries, previous, len(chain))
