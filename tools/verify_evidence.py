#!/usr/bin/env python3
"""Verifies evidence of a Holdfast ledger: packets, signed heads, and that heads belong to one history.

    verify_evidence.py packet PACKET --head KEPT [--head KEPT ...] [--proof FILE ...] [--key KEY_ID ...]
    verify_evidence.py heads KEPT [KEPT ...] [--proof FILE ...] [--key KEY_ID ...]

It needs this file, Python 3.9 or newer and the package `cryptography`; no network, no database, nothing of Holdfast.
`docs/evidence.md` specifies the formats, so anybody can write another verifier.

Exit code 0: all of it holds. 1: something is false; the evidence or the ledger was changed. 2: it cannot be told,
because a file cannot be read or a proof is missing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PACKET, HEAD, KEY, CONSISTENCY = "holdfast-evidence/1", "holdfast-head/1", "holdfast-key/1", "holdfast-consistency/1"
HEAD_MEMBERS = {
    "format", "ledger_id", "partition", "chain_seq", "chain_hash", "merkle_root", "signed_at", "key_id", "signature",
}  # fmt: skip
Document = dict[str, Any]
Proofs = dict[tuple[int, int, int], Sequence[bytes]]

EMPTY_ROOT = sha256(b"").digest()
GENESIS_HASH = bytes(32)
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)


class Refuted(Exception):
    """Something that was claimed is false."""


class Unproven(Exception):
    """Nothing was proved, and nothing refuted: a file or a proof is missing or unreadable."""


# Documents


def parse(text: str) -> Any:
    """A JSON document in which no name repeats and every number is whole: what is signed has one meaning only."""
    return json.loads(
        text, object_pairs_hook=_no_repeats, parse_float=_no_number, parse_constant=_no_number, parse_int=_whole
    )


def _no_repeats(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name repeats")
    return document


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a whole number")


def _whole(text: str) -> int:
    if text == "-0" or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text} is not a number of a ledger")
    return int(text)


def canonical(document: Document) -> bytes:
    """Keys sorted, no white space, UTF-8, nothing escaped that need not be."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed_text(document: Document) -> bytes:
    """What a signature is over: the document without it."""
    return canonical({name: value for name, value in document.items() if name != "signature"})


def require_texts(document: Document, *names: str) -> None:
    """Raise ValueError unless these members are texts."""
    for name in names:
        if not isinstance(document[name], str):
            raise ValueError(f"{name} is not a text")


def digest(text: str) -> bytes:
    """32 bytes from their hexadecimal form, which is lower case."""
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError(f"{text!r} is no SHA-256")
    return bytes.fromhex(text)


# Merkle trees, as in RFC 6962 and RFC 9162


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_of_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an audit path leads to from a leaf."""
    if not 0 <= index < size:
        raise Refuted(f"leaf {index} is not in a tree of {size}")
    number, last, root = index, size - 1, leaf
    for node in path:
        if last == 0:
            raise Refuted("the audit path is too long")
        if number & 1 or number == last:
            root = node_hash(node, root)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            root = node_hash(root, node)
        number, last = number >> 1, last >> 1
    if last:
        raise Refuted("the audit path is too short")
    return root


def is_consistent(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree of `old_size` is the beginning of that of `new_size`."""
    if old_size > new_size:
        return False
    if old_size in (0, new_size):
        return not path and old_root == (new_root if old_size else EMPTY_ROOT)
    nodes = list(path) if old_size & (old_size - 1) else [old_root, *path]
    if not nodes:
        return False
    number, last = old_size - 1, new_size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, node)
        number, last = number >> 1, last >> 1
    return last == 0 and (old, new) == (old_root, new_root)


# Keys


class Keys:
    """The public keys that files name, and those of them that can be trusted."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.trusted: dict[str, Ed25519PublicKey] = {}

    def add(self, document: Document) -> None:
        """Take note of a key. Each has one record: another one would be an attempt to endorse it a second time."""
        require_texts(document, "ledger_id", "key_id", "signature")
        if document["endorsed_by"] is not None:
            require_texts(document, "endorsed_by")
        public_key, key_id = digest(document["public_key"]), document["key_id"]
        if key_id != sha256(public_key).hexdigest()[:32]:
            raise Refuted(f"key {key_id} has another id than its public key")
        if self.documents.setdefault(key_id, document) != document:
            raise Refuted(f"there are two different records of key {key_id}")
        if document["endorsed_by"] is None and not verifies(Ed25519PublicKey.from_public_bytes(public_key), document):
            raise Refuted(f"the record of key {key_id} has a false signature")

    def trust_from(self, roots: Sequence[str], needed: Sequence[str]) -> bool:
        """Trust roots, and each key that a trusted one has endorsed; returns whether all that are needed are."""
        trusted: dict[str, Ed25519PublicKey] = {}
        waiting = dict(self.documents)
        while True:
            found = {
                key_id: document
                for key_id, document in waiting.items()
                if key_id in roots or (document["endorsed_by"] in trusted
                and verifies(trusted[document["endorsed_by"]], document))
            }  # fmt: skip
            if not found:
                break
            for key_id in found:
                trusted[key_id] = Ed25519PublicKey.from_public_bytes(digest(waiting.pop(key_id)["public_key"]))
        if not set(needed) <= trusted.keys():
            return False
        self.trusted = trusted
        return True

    def require(self, document: Document, what: str) -> None:
        """Refuse a document that no trusted key has signed."""
        key = self.trusted.get(document["key_id"])
        if key is None:
            raise Refuted(
                f"{what} is signed with key {document['key_id']}, which no trusted key has endorsed; "
                "if keys were rotated, give a head from before that, too"
            )
        if not verifies(key, document):
            raise Refuted(f"{what} has a false signature: it was changed after it was signed")


def verifies(key: Ed25519PublicKey, document: Document) -> bool:
    """Whether a document's signature is that of a key."""
    signature = document["signature"]
    if not re.fullmatch("[0-9a-f]{128}", signature):
        return False
    try:
        key.verify(bytes.fromhex(signature), signed_text(document))
    except InvalidSignature:
        return False
    return True


# Files


class Files:
    """What the given files hold: heads, keys, consistency proofs."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.heads: list[Document] = []
        self.proofs: Proofs = {}
        self.roots: list[Sequence[str]] = []

    def read(self, path: str | Path) -> None:
        """Add one file, with a document in each line."""
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Unproven(f"{path} cannot be read: {error}") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                self.add(line, f"line {number} of {path}")

    def add(self, line: str, place: str) -> None:
        """Add the document in a line."""
        try:
            document = parse(line)
            kind = document.get("format")
            if kind == KEY:
                self.keys.add(document)
            elif kind == HEAD:
                self.heads.append(checked_head(document))
            elif kind == CONSISTENCY:
                ends = (document["partition"], document["from_size"], document["to_size"])
                self.proofs[ends] = [digest(node) for node in document["hashes"]]
            else:
                raise Unproven(f"{place} is neither a signed head nor a key nor a proof")
        except (*MALFORMED, RecursionError) as error:
            raise Unproven(f"{place} cannot be read: {type(error).__name__}: {error}") from error

    def settle_trust(self, pinned: Sequence[str] = ()) -> None:
        """Trust the pinned keys and what they endorse; without, the key of a kept head that endorses all others."""
        signers = sorted({head["key_id"] for head in self.heads})
        for key_id in signers:
            if key_id not in self.keys.documents:
                raise Unproven(f"the files have no record of key {key_id}, which has signed heads")
        self.roots = [pinned] if pinned else [[signer] for signer in signers]
        self.roots = [roots for roots in self.roots if self.keys.trust_from(roots, signers)]
        if not self.roots:
            raise Refuted("the heads are signed with keys of which none has endorsed the others")
        for head in self.heads:
            self.keys.require(head, name_of(head))
        if len({head["ledger_id"] for head in self.heads}) > 1:
            raise Refuted("the heads are of different ledgers")


def checked_head(head: Document) -> Document:
    """A head whose members are what they should be."""
    require_texts(head, "ledger_id", "signed_at", "key_id", "signature")
    if head.keys() != HEAD_MEMBERS or type(head["partition"]) is not int or type(head["chain_seq"]) is not int:
        raise ValueError("it is not a head")
    if head["chain_seq"] < 0 or (head["chain_seq"] == 0 and digest(head["chain_hash"]) != GENESIS_HASH):
        raise ValueError("it is not a head")
    digest(head["chain_hash"])
    digest(head["merkle_root"])
    return head


def name_of(head: Document) -> str:
    """A head in words."""
    return f"the head of chain {head['partition']} with {head['chain_seq']} transactions of {head['signed_at']}"


def agree(old: Document, new: Document, proofs: Proofs) -> bool | None:
    """Whether two heads of a chain are of one history; None if nothing proves or refutes it."""
    if old["chain_seq"] > new["chain_seq"]:
        old, new = new, old
    roots = digest(old["merkle_root"]), digest(new["merkle_root"])
    if old["chain_seq"] == new["chain_seq"]:
        return roots[0] == roots[1] and old["chain_hash"] == new["chain_hash"]
    path = [] if old["chain_seq"] == 0 else proofs.get((old["partition"], old["chain_seq"], new["chain_seq"]))
    return None if path is None else is_consistent(old["chain_seq"], roots[0], new["chain_seq"], roots[1], path)


# Heads: one history


def verify_heads(files: Files) -> list[str]:
    """Compare all heads of each chain with its newest; returns what was found, in words."""
    said, refuted, unproven = [], [], []
    dates = sorted({head["signed_at"] for head in files.heads})
    newest_export = {head["partition"] for head in files.heads if head["signed_at"] == dates[-1]}
    for partition in sorted({head["partition"] for head in files.heads}):
        heads = sorted(
            (head for head in files.heads if head["partition"] == partition),
            key=lambda head: (head["signed_at"], head["chain_seq"]),
        )
        newest, last_good = heads[-1], None
        for head in heads[:-1]:
            answer = agree(head, newest, files.proofs) if head["chain_seq"] <= newest["chain_seq"] else False
            if answer is None:
                unproven.append(f"nothing proves that {name_of(head)} is part of {name_of(newest)}")
            elif answer:
                last_good = head
            else:
                refuted.append(_rewritten(partition, last_good, head, newest))
                break
        else:
            said.append(f"chain {partition}: {len(heads)} heads, {newest['chain_seq']} transactions")
        if partition not in newest_export and len(newest_export) > 1:
            unproven.append(f"the newest export, of {dates[-1]}, has no head of chain {partition}")
    if refuted:
        raise Refuted("\n".join(refuted))
    if unproven:
        raise Unproven("\n".join(unproven))
    return said


def _rewritten(partition: int, last_good: Document | None, first_bad: Document, newest: Document) -> str:
    begin = last_good["chain_seq"] + 1 if last_good else 1
    since = f"after the head of {last_good['signed_at']}" if last_good else "from the beginning on"
    if first_bad["chain_seq"] > newest["chain_seq"]:
        return (
            f"chain {partition} was cut: the head of {first_bad['signed_at']} has {first_bad['chain_seq']} "
            f"transactions, that of {newest['signed_at']} has {newest['chain_seq']}"
        )
    return (
        f"chain {partition} was rewritten {since}: transactions {begin} to {first_bad['chain_seq']} are not those of "
        f"the head that was kept of {first_bad['signed_at']}"
    )


# Packets


def read_packet(path: str | Path) -> str:
    """The text of a packet."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise Unproven(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise Refuted(f"{path} is not UTF-8: {error}") from error
    return text


def verify_packet(text: str, files: Files) -> list[str]:
    """Verify a packet by heads that were kept; returns what it proves, in words."""
    try:
        packet = parse(text)
        if packet["format"] != PACKET:
            raise Refuted("it is not an evidence packet")
        for key in packet["keys"]:
            files.keys.add(key)
        files.keys.trust_from(files.roots[0], ())
        files.keys.require(packet, "the packet")
        return _verify_content(packet, files)
    except (*MALFORMED, RecursionError) as error:
        raise Refuted(f"it is not an evidence packet: {type(error).__name__}: {error}") from error


def _verify_content(packet: Document, files: Files) -> list[str]:
    subject = packet["subject"]
    said = [f"{subject['kind']} {subject['id']}: {subject['status']}, as Holdfast states with its signature"]
    if any(head["ledger_id"] != packet["ledger_id"] for head in files.heads):
        raise Refuted("the packet is of another ledger than the head that was kept")
    if packet["transaction"] is None:
        said.append("it has no ledger transaction, so no head says anything of it")
        return said
    head = checked_head(packet["chain"]["head"])
    files.keys.require(head, "the packet's head")
    said += verify_transaction(packet)
    said += verify_place(packet, head)
    said += verify_against_kept(packet, head, files)
    return said


def verify_transaction(packet: Document) -> list[str]:
    """The transaction is what was hashed, it balances, and it is the packet's subject."""
    transaction, chain, subject = packet["transaction"], packet["chain"], packet["subject"]
    if canonical_transaction(transaction) != chain["canonical"]:
        raise Refuted("the transaction differs from its canonical form")
    hashed = sha256(digest(chain["previous_hash"]) + chain["canonical"].encode()).hexdigest()
    if hashed != chain["hash"]:
        raise Refuted("the transaction does not have the hash that the chain has: it was changed after it was posted")
    if (subject["entity_id"], subject["id"]) != (transaction["entity_id"], transaction["payment_id"]):
        raise Refuted("the transaction is of another payment")
    sums: dict[str, int] = {}
    for entry in transaction["entries"]:
        currency, amount = entry["currency_code"], entry["amount_minor"]
        sums[currency] = sums.get(currency, 0) + amount
        if abs(entry["balance_minor"] - entry["balance_before_minor"]) != abs(amount):
            raise Refuted(f"the balances of {entry['account_id']} do not differ by the amount")
    if len(transaction["entries"]) < 2 or any(sums.values()):
        raise Refuted("the entries do not balance")
    lines = [
        f"  {'debit ' if entry['amount_minor'] > 0 else 'credit'} {entry['account_id']}: {abs(entry['amount_minor'])} "
        f"{entry['currency_code']} (minor units), balance {entry['balance_before_minor']} -> {entry['balance_minor']}"
        for entry in transaction["entries"]
    ]
    return ["its entries balance:", *lines]


def canonical_transaction(transaction: Document) -> str:
    """The text that is hashed: docs/evidence.md, "Ledger transaction"."""
    text = json.JSONEncoder(ensure_ascii=False).encode
    entries = [
        f"[{text(one['account_id'])},{one['entry_number']},{one['amount_minor']},{one['balance_minor']},"
        f"{text(one['currency_code'])}]"
        for one in transaction["entries"]
    ]
    metadata = transaction["metadata_json"]
    parts = [
        *(text(transaction[name]) for name in _TEXTS),
        "null" if metadata is None else metadata,
        *(text(transaction[name]) for name in ("accepted_at_us", "effective_at_us", "posted_at_us")),
        f"[{','.join(entries)}]",
    ]
    return f"[{','.join(parts)}]"


_TEXTS = (
    "partition", "chain_seq", "entity_id", "external_id", "kind", "payment_id", "relates_to", "fingerprint", "actor",
    "description",
)  # fmt: skip


def verify_place(packet: Document, head: Document) -> list[str]:
    """The transaction is in the tree of the packet's head."""
    transaction, chain = packet["transaction"], packet["chain"]
    place = chain["inclusion"]
    if head["partition"] != transaction["partition"] or head["ledger_id"] != packet["ledger_id"]:
        raise Refuted("the packet's head is of another chain")
    if (place["leaf_index"], place["tree_size"]) != (transaction["chain_seq"] - 1, head["chain_seq"]):
        raise Refuted("the audit path is of another place")
    leaf = leaf_hash(digest(chain["hash"]))
    if leaf != digest(chain["leaf_hash"]):
        raise Refuted("the leaf is not that of the transaction")
    root = root_of_inclusion(leaf, place["leaf_index"], place["tree_size"], [digest(one) for one in place["hashes"]])
    if root != digest(head["merkle_root"]):
        raise Refuted("the transaction is not in the tree of the packet's head")
    if transaction["chain_seq"] == head["chain_seq"] and chain["hash"] != head["chain_hash"]:
        raise Refuted("the transaction is not the last one of the packet's head")
    return [f"it is transaction {transaction['chain_seq']} of {name_of(head)}"]


def verify_against_kept(packet: Document, head: Document, files: Files) -> list[str]:
    """The packet's head agrees with every head of its chain that was kept."""
    own = packet["chain"]["consistency"]
    if own is not None:
        ends = (head["partition"], own["from_size"], own["to_size"])
        files.proofs[ends] = [digest(node) for node in own["hashes"]]
    kept = [one for one in files.heads if one["partition"] == head["partition"]]
    if not kept:
        if files.heads:
            raise Unproven(f"the files have no head of chain {head['partition']}")
        return ["no head was kept: what its signer has rewritten since would not show"]
    said = []
    for one in kept:
        answer = agree(one, head, files.proofs)
        if answer is None:
            raise Unproven(
                f"nothing proves that {name_of(one)} and {name_of(head)} agree; ask for the packet with "
                f"?kept_size={one['chain_seq']}, or for a proof"
            )
        if not answer:
            raise Refuted(f"the history is not that of {name_of(one)}, which was kept: it was rewritten since")
        said.append(f"it agrees with {name_of(one)}, which was kept")
    return said


# Command line


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="verify_evidence.py", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packet = commands.add_parser("packet", help="verify an evidence packet")
    packet.add_argument("packet", help="the packet, as the API answered it")
    packet.add_argument("--head", action="append", default=[], metavar="FILE", help="heads that you kept")
    heads = commands.add_parser("heads", help="verify that heads belong to one history")
    heads.add_argument("head", nargs="+", metavar="FILE", help="exported heads, of any dates")
    for one in (packet, heads):
        one.add_argument("--proof", action="append", default=[], metavar="FILE", help="consistency proofs")
        one.add_argument(
            "--key",
            action="append",
            default=[],
            metavar="KEY_ID",
            help="the id of a key that you trust, from another source",
        )
    return parser.parse_args(argv)


def verify(
    head_files: Sequence[str | Path],
    proof_files: Sequence[str | Path],
    pinned: Sequence[str] = (),
    packet_file: str | Path | None = None,
) -> list[str]:
    """Verify; returns what holds, in words. Raises Refuted or Unproven."""
    if not head_files and not pinned:
        raise Unproven("give a head that you kept, or the id of a key that you trust")
    files = Files()
    for path in head_files:
        files.read(path)
    kept = list(files.heads)
    if head_files and not kept:
        raise Unproven("the files have no signed head")
    for path in proof_files:
        files.read(path)
    files.heads = kept
    files.roots = [pinned]
    if kept:  # otherwise the pinned keys count alone, whose records are in the packet
        files.settle_trust(pinned)
    return verify_heads(files) if packet_file is None else verify_packet(read_packet(packet_file), files)


def run(*given: Any, **more: Any) -> int:
    """Verify and print; returns the exit code."""
    try:
        said = verify(*given, **more)
    except Refuted as error:
        print(f"FALSE: {error}")
        return 1
    except Unproven as error:
        print(f"NOT PROVEN: {error}")
        return 2
    print("\n".join(["HOLDS", *said]))
    return 0


def main(argv: Sequence[str]) -> int:
    """Run one command."""
    given = arguments(argv)
    return run(given.head, given.proof, given.key, getattr(given, "packet", None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
