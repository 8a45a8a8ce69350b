"""Encoding a plan's rows in the formats that Postgres reads fastest: COPY's binary format, and arrays as text."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from struct import Struct
from typing import Any

import psycopg

from app.domain.hash_chain import EntryRow, TransactionRow
from app.domain.ledger_rows import PostingPlan
from app.domain.spans import span
from app.domain.timestamps import to_microseconds


def array(values: Collection[str]) -> str | list[Any]:
    """Texts as the text of an array. If one has a NUL, the list itself: the driver then raises its error for it."""
    joined = "\0".join(values)
    if joined.count("\0") != max(0, len(values) - 1):
        return list(values)
    if not values:
        return "{}"
    escaped = joined.replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + escaped.replace("\0", '","') + '"}'


def numbers(values: Iterable[int]) -> str:
    """Integers as the text of an array."""
    return "{" + ",".join(map(str, values)) + "}"


def bytes_array(values: Collection[bytes]) -> str:
    """Values as the text of an array of bytea."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


def balance_changes(plan: PostingPlan) -> dict[str, Any]:
    """Parameters: what a plan adds to each account's balance and number of entries."""
    pairs = list(zip(plan.balances_before, plan.balances.values(), strict=True))
    return {
        "posted_at": plan.posted_at,
        "accounts": array(plan.balances),
        "deltas": numbers([after.balance_minor - before.balance_minor for before, after in pairs]),
        "entries": numbers([after.entry_count - before.entry_count for before, after in pairs]),
    }


def new_heads(plan: PostingPlan) -> dict[str, Any]:
    """Parameters: the heads of a plan's chains after it."""
    heads = plan.heads.values()
    return {
        "partitions": numbers(plan.heads),
        "seqs": numbers([head.chain_seq for head in heads]),
        "hashes": bytes_array([head.chain_hash for head in heads]),
        "positions": array([head.last_position for head in heads]),
    }


COPY_TRANSACTIONS = """
COPY ledger_transaction (partition, chain_seq, entity_id, external_id, kind, payment_id, relates_to, fingerprint,
    actor, description, metadata, accepted_at, effective_at, posted_at, previous_hash, hash) FROM STDIN (FORMAT BINARY)
"""
COPY_ENTRIES = """
COPY entry (account_id, entry_number, partition, chain_seq, leg, amount_minor, balance_minor, currency_code, posted_at)
FROM STDIN (FORMAT BINARY)
"""

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""How COPY's binary format begins; TRAILER ends it."""
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
EPOCH_US = to_microseconds(datetime(2000, 1, 1, tzinfo=UTC))
"""Postgres counts its times in microseconds from this moment."""

_length = Struct("!i").pack
_transaction_begins = Struct("!hihiq").pack
"""Number of columns, partition, chain_seq."""
_transaction_ends = Struct("!iqiqiqi32si32s").pack
"""accepted_at, effective_at, posted_at, previous_hash, hash."""
_entry_begins = Struct("!h").pack(9)
_entry_figures = Struct("!iqihiqihiqiq").pack
"""entry_number, partition, chain_seq, leg, amount_minor, balance_minor."""
_entry_ends = Struct("!iq").pack
"""posted_at."""


def transactions_copy(rows: Iterable[TransactionRow]) -> bytes:
    """The rows in the format that COPY_TRANSACTIONS reads."""
    known = EncodedTexts()
    parts = [SIGNATURE]
    for facts, previous_hash, own_hash in rows:
        (
            partition, chain_seq, entity_id, external_id, kind, payment_id, relates_to, fingerprint,
            actor, description, metadata, accepted_at_us, effective_at_us, posted_at_us,
        ) = facts  # fmt: skip
        parts += (
            _transaction_begins(16, 2, partition, 8, chain_seq),
            known[entity_id],
            encoded_text(external_id),
            known[kind],
            encoded_text(payment_id),
            known[relates_to],
            encoded_text(fingerprint),
            known[actor],
            known[description],
            NULL if metadata is None else encoded_text(metadata),
            _transaction_ends(
                8, accepted_at_us - EPOCH_US, 8, effective_at_us - EPOCH_US, 8, posted_at_us - EPOCH_US,
                32, previous_hash, 32, own_hash,
            ),
        )  # fmt: skip
    parts.append(TRAILER)
    return b"".join(parts)


def entries_copy(rows: Iterable[EntryRow]) -> bytes:
    """The rows in the format that COPY_ENTRIES reads."""
    known = EncodedTexts()
    parts = [SIGNATURE]
    for account_id, number, partition, chain_seq, leg, amount_minor, balance_minor, currency_code, posted_at_us in rows:
        parts += (
            _entry_begins,
            known[account_id],
            _entry_figures(8, number, 2, partition, 8, chain_seq, 2, leg, 8, amount_minor, 8, balance_minor),
            known[currency_code],
            _entry_ends(8, posted_at_us - EPOCH_US),
        )
    parts.append(TRAILER)
    return b"".join(parts)


def copy_in(connection: psycopg.Connection[Any], statement: str, data: bytes) -> None:
    """Run a COPY statement with this data."""
    with span(statement.split("(")[0].strip()), connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(data)


def encoded_text(value: str) -> bytes:
    """A text as a field of COPY's binary format."""
    encoded = value.encode()
    return _length(len(encoded)) + encoded


class EncodedTexts(dict[str | None, bytes]):
    """Encodes each text once, however often it occurs; None becomes null."""

    def __missing__(self, value: str | None) -> bytes:
        encoded = self[value] = NULL if value is None else encoded_text(value)
        return encoded
