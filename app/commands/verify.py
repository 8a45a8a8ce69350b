"""`verify`: recompute the hash chains. Exit code 1 when one is broken, 2 when the exported heads cannot be read.

Verified heads are also appended to `<data-dir>/chain-heads.jsonl`: keep copies of that file elsewhere, and a tail that
is cut off together with every trace in the database still shows. Every head of the file must be in its chain.
"""

import argparse
import json
import sys
from pathlib import Path

from app.commands.connection import connected
from app.commands.proof_output import as_json, as_text
from app.domain.breaks import Head
from app.wiring.workers import build_verifier

HEADS_FILE = "chain-heads.jsonl"
HASH_BYTES = 32


class HeadsUnreadable(Exception):
    """The file of exported heads is missing or is not one; the message says what is wrong."""


def run(arguments: argparse.Namespace) -> int:
    """Verify once. Exit code 1 where a chain is broken, 2 where the exported heads cannot be read."""
    kept = arguments.data_dir / HEADS_FILE
    try:
        heads = _read(arguments.heads or kept) if arguments.heads or kept.exists() else []
        if arguments.heads and not heads:
            raise HeadsUnreadable(f"The file {arguments.heads} has no exported heads.")
    except HeadsUnreadable as unreadable:
        print(f"{unreadable} Nothing was verified.", file=sys.stderr)
        return 2
    with connected(arguments.data_dir) as settings:
        verifier = build_verifier(settings)
        report = verifier.run(heads)
        if not report.breaks:
            _append(kept, verifier.heads())
    print(as_json(report) if arguments.json else as_text(report))
    return 1 if report.breaks else 0


def _read(path: Path) -> list[Head]:
    """Every exported head of the file; HeadsUnreadable where a line is not one."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HeadsUnreadable(f"The exported heads in {path} cannot be read: {error}.") from error
    return [_parsed(path, number, line) for number, line in enumerate(lines, 1)]


def _parsed(path: Path, number: int, line: str) -> Head:
    try:
        head = json.loads(line)
        partition, chain_seq, chain_hash = head["partition"], head["chain_seq"], bytes.fromhex(head["chain_hash"])
        is_head = type(partition) is int and type(chain_seq) is int and len(chain_hash) == HASH_BYTES
    except (ValueError, TypeError, KeyError):
        is_head = False
    if not is_head or not 0 <= partition < 2**15 or not 0 < chain_seq < 2**63:
        raise HeadsUnreadable(f"Line {number} of {path} is not an exported head.")
    return partition, chain_seq, chain_hash


def _append(path: Path, heads: list[Head]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for partition, chain_seq, chain_hash in heads:
            line = {"partition": partition, "chain_seq": chain_seq, "chain_hash": chain_hash.hex()}
            file.write(json.dumps(line) + "\n")
