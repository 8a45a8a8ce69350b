"""Signed heads: what a chain is at a moment, signed, so that anybody who keeps one can convict a later change.

Heads, public keys and evidence packets are documents of one kind: JSON objects with a `format`, and a `signature` over
all of the document but the signature itself, in canonical form. `docs/evidence.md` specifies them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from app.domain.hash_chain import canonical_json
from app.domain.timestamps import rfc3339

HEAD_FORMAT = "holdfast-head/1"
KEY_FORMAT = "holdfast-key/1"
CONSISTENCY_FORMAT = "holdfast-consistency/1"

KEY_ID_LENGTH = 32
"""Hexadecimal digits: 128 bits of the key's SHA-256."""

Sign = Callable[[bytes], bytes]


def key_id_of(public_key: bytes) -> str:
    """The id of a public key, which is its 32 bytes."""
    return sha256(public_key).hexdigest()[:KEY_ID_LENGTH]


def signed_text(document: Mapping[str, Any]) -> bytes:
    """What the signature of a document is over."""
    return canonical_json({name: value for name, value in document.items() if name != "signature"}).encode()


@dataclass(slots=True, frozen=True)
class SignedHead:
    """A chain's first `chain_seq` transactions: the hash of the last one, and the root of the Merkle tree over all."""

    ledger_id: str
    partition: int
    chain_seq: int
    chain_hash: bytes
    merkle_root: bytes
    signed_at: datetime
    key_id: str
    signature: bytes = b""

    def signed(self, sign: Sign) -> "SignedHead":
        """The same head with its signature."""
        return replace(self, signature=sign(signed_text(self.document())))

    def document(self) -> dict[str, Any]:
        """The head as it is exported; its members are a superset of what unsigned exports had."""
        return {
            "format": HEAD_FORMAT,
            "ledger_id": self.ledger_id,
            "partition": self.partition,
            "chain_seq": self.chain_seq,
            "chain_hash": self.chain_hash.hex(),
            "merkle_root": self.merkle_root.hex(),
            "signed_at": rfc3339(self.signed_at),
            "key_id": self.key_id,
            "signature": self.signature.hex(),
        }


@dataclass(slots=True, frozen=True)
class PublicKey:
    """A key that signs heads and packets. The first one of a ledger is signed by itself, each other by an older one."""

    ledger_id: str
    key_id: str
    public_key: bytes
    introduced_at: datetime
    endorsed_by: str | None
    signature: bytes = b""

    def signed(self, sign: Sign) -> "PublicKey":
        """The same key with the signature of the endorsing key."""
        return replace(self, signature=sign(signed_text(self.document())))

    def document(self) -> dict[str, Any]:
        """The key as it is exported."""
        return {
            "format": KEY_FORMAT,
            "ledger_id": self.ledger_id,
            "key_id": self.key_id,
            "public_key": self.public_key.hex(),
            "introduced_at": rfc3339(self.introduced_at),
            "endorsed_by": self.endorsed_by,
            "signature": self.signature.hex(),
        }


def consistency_document(
    ledger_id: str, partition: int, from_size: int, to_size: int, path: list[bytes]
) -> dict[str, Any]:
    """The proof that a chain's head of `from_size` transactions is the beginning of one of `to_size`."""
    return {
        "format": CONSISTENCY_FORMAT,
        "ledger_id": ledger_id,
        "partition": partition,
        "from_size": from_size,
        "to_size": to_size,
        "hashes": [node.hex() for node in path],
    }
