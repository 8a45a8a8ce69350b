"""`verify`: recompute the hash chains. Exit code 1 when one is broken.

Verified heads are also appended to `<data-dir>/chain-heads.jsonl`: keep copies of that file elsewhere, and a tail that
is cut off together with every trace in the database still shows.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from app.commands.connection import connected
from app.commands.proof_output import as_json, as_text
from app.services.proofs.chain_verification import Head
from app.wiring.workers import build_verifier

HEADS_FILE = "chain-heads.jsonl"


def run(arguments: argparse.Namespace) -> int:
    """Verify once."""
    heads_file = arguments.heads or arguments.data_dir / HEADS_FILE
    try:
        heads = list(_read(heads_file))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{heads_file} is not a file of exported heads: {error}. Nothing was verified.", file=sys.stderr)
        return 2
    with connected(arguments.data_dir) as settings:
        verifier = build_verifier(settings)
        report = verifier.run(heads)
        if not report.breaks:
            _append(arguments.data_dir / HEADS_FILE, verifier.heads())
    print(as_json(report) if arguments.json else as_text(report))
    return 1 if report.breaks else 0


def _read(path: Path) -> Iterator[Head]:
    """The latest exported head of each partition."""
    latest: dict[int, Head] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            head = json.loads(line)
            latest[head["partition"]] = (head["partition"], head["chain_seq"], bytes.fromhex(head["chain_hash"]))
    yield from latest.values()


def _append(path: Path, heads: list[Head]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for partition, chain_seq, chain_hash in heads:
            line = {"partition": partition, "chain_seq": chain_seq, "chain_hash": chain_hash.hex()}
            file.write(json.dumps(line) + "\n")
