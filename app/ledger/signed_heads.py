"""Signed heads and the public keys that sign them, as the ledger keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.signed_heads import PublicKey, SignedHead
from app.domain.timestamps import cut_to_milliseconds
from app.ledger.merkle_tree import Rows

_LEDGER_ID = "SELECT ledger_id FROM ledger_identity"
_CHAINS = """
SELECT p.partition, p.chain_seq, p.chain_hash, statement_timestamp(), s.chain_seq, s.chain_hash, s.merkle_root,
    s.signed_at, s.key_id, s.signature
FROM partition p LEFT JOIN LATERAL (SELECT * FROM signed_head h WHERE h.partition = p.partition
    ORDER BY h.chain_seq DESC, h.signed_head_id DESC LIMIT 1) s ON true
ORDER BY p.partition
"""
_HEADS = """
SELECT partition, chain_seq, chain_hash, merkle_root, signed_at, key_id, signature
FROM signed_head ORDER BY partition, chain_seq, signed_head_id
"""
_HASH_AT = """
SELECT hash FROM ledger_transaction WHERE partition = %(partition)s AND chain_seq = %(chain_seq)s
"""
_KEEP_HEAD = """
INSERT INTO signed_head (partition, chain_seq, chain_hash, merkle_root, signed_at, key_id, signature)
VALUES (%(partition)s, %(chain_seq)s, %(chain_hash)s, %(merkle_root)s, %(signed_at)s, %(key_id)s, %(signature)s)
RETURNING signed_head_id
"""
_KEYS = """
SELECT key_id, public_key, introduced_at, endorsed_by, signature FROM signing_key ORDER BY introduced_at, key_id
"""
_KEEP_KEY = """
INSERT INTO signing_key (key_id, public_key, introduced_at, endorsed_by, signature)
VALUES (%(key_id)s, %(public_key)s, %(introduced_at)s, %(endorsed_by)s, %(signature)s)
ON CONFLICT (key_id) DO NOTHING RETURNING key_id
"""


@dataclass(slots=True, frozen=True)
class ChainState:
    """A chain as it is now, and its last signed head; None where none was signed. `now` is the same for all chains."""

    partition: int
    chain_seq: int
    chain_hash: bytes
    now: datetime
    last: SignedHead | None


class LedgerSignedHeads:
    """Reads and keeps heads and keys."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def ledger_id(self) -> str:
        """The name of this ledger."""
        return str(self._rows(_LEDGER_ID, {})[0][0])

    def now(self) -> datetime:
        """The ledger's time, in whole milliseconds."""
        moment: datetime = self._rows("SELECT clock_timestamp()", {})[0][0]
        return cut_to_milliseconds(moment)

    def chains(self) -> list[ChainState]:
        """Every chain, in order of the partitions."""
        ledger_id = self.ledger_id()
        return [_chain(ledger_id, row) for row in self._rows(_CHAINS, {})]

    def all(self) -> list[SignedHead]:
        """Every head that was ever signed, in order of the chains."""
        ledger_id = self.ledger_id()
        return [_head(ledger_id, row) for row in self._rows(_HEADS, {})]

    def hash_at(self, partition: int, chain_seq: int) -> bytes | None:
        """The hash of one transaction of a chain; None if there is no such transaction."""
        rows = self._rows(_HASH_AT, {"partition": partition, "chain_seq": chain_seq})
        return bytes(rows[0][0]) if rows else None

    def keep(self, head: SignedHead) -> None:
        """Keep a head."""
        self._rows(_KEEP_HEAD, {name: getattr(head, name) for name in _HEAD_COLUMNS})

    def keys(self) -> list[PublicKey]:
        """Every key, oldest first."""
        ledger_id = self.ledger_id()
        return [_key(ledger_id, row) for row in self._rows(_KEYS, {})]

    def keep_key(self, key: PublicKey) -> None:
        """Keep a key; the same one again changes nothing."""
        self._rows(_KEEP_KEY, {name: getattr(key, name) for name in _KEY_COLUMNS})


_HEAD_COLUMNS = ("partition", "chain_seq", "chain_hash", "merkle_root", "signed_at", "key_id", "signature")
_KEY_COLUMNS = ("key_id", "public_key", "introduced_at", "endorsed_by", "signature")


def _chain(ledger_id: str, row: Sequence[Any]) -> ChainState:
    partition, chain_seq, chain_hash, now, *last = row
    head = None if last[0] is None else _head(ledger_id, (partition, *last))
    return ChainState(partition, chain_seq, bytes(chain_hash), cut_to_milliseconds(now), head)


def _head(ledger_id: str, row: Sequence[Any]) -> SignedHead:
    partition, chain_seq, chain_hash, merkle_root, signed_at, key_id, signature = row
    return SignedHead(
        ledger_id, partition, chain_seq, bytes(chain_hash), bytes(merkle_root), signed_at, key_id, bytes(signature)
    )


def _key(ledger_id: str, row: Sequence[Any]) -> PublicKey:
    key_id, public_key, introduced_at, endorsed_by, signature = row
    return PublicKey(ledger_id, key_id, bytes(public_key), introduced_at, endorsed_by, bytes(signature))
