"""Files of signed heads: a JSON document in each line, keys first. What leaves the database here convicts it later."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.domain.signed_heads import HEAD_FORMAT, PublicKey, SignedHead
from app.services.proofs.chain_verification import Pace
from app.services.proofs.signed_heads import HeadSigner

SUBTREES_A_TURN = 2_000
"""How far the trees grow in one turn, half a million transactions: a turn ends before its job is cut off."""


def documents(keys: Iterable[PublicKey], heads: Iterable[SignedHead]) -> list[dict[str, Any]]:
    """What an export holds."""
    return [*(key.document() for key in keys), *(head.document() for head in heads)]


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_sizes(path: Path) -> list[tuple[int, int]]:
    """Partition and size of each signed head in a file; ValueError where it is not a file of heads."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        document = json.loads(line) if line.strip() else {}
        if document.get("format") == HEAD_FORMAT:
            found.append((int(document["partition"]), int(document["chain_seq"])))
    return found


class HeadExport:
    """Signs the heads of chains that have grown, and once a day those of all chains, into a file of that day."""

    def __init__(self, signer: HeadSigner, directory: Path, every_s: float, pace: Pace) -> None:
        self._signer = signer
        self._directory = directory
        self._every_s = every_s
        self._pace = pace
        self._signed_at = float("-inf")

    def run_once(self, now: float) -> Sequence[SignedHead]:
        """Sign what is due at `now` (seconds); returns the signed heads."""
        if now - self._signed_at < self._every_s:
            return []
        self._signed_at = now
        signed = self._signer.sign_grown(self._pace, most_subtrees=SUBTREES_A_TURN)
        file = self._directory / f"heads-{self._signer.now().date().isoformat()}.jsonl"
        if file.exists():
            return signed
        signed = self._signer.sign_all()
        write_lines(file, documents(self._signer.public_keys(), signed))
        return signed
