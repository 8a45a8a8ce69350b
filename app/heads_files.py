"""Files of signed heads: a JSON document in each line, keys first. What leaves the database here convicts it later."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.domain.errors import TreeUnderConstruction
from app.domain.signed_heads import HEAD_FORMAT, PublicKey, SignedHead
from app.services.proofs.chain_verification import Pace
from app.services.proofs.signed_heads import HeadSigner

TURN_S = 20.0
"""How long the trees may grow in one turn, before the job is cut off. A node, for 256 transactions, takes a millisecond
or two and the rest after it, so the turns keep up with ten thousand payments a second."""


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

    def __init__(
        self, signer: HeadSigner, directory: Path, every_s: float, pace: Pace, monotonic: Callable[[], float]
    ) -> None:
        self._signer = signer
        self._directory = directory
        self._every_s = every_s
        self._pace = pace
        self._monotonic = monotonic
        self._signed_at = float("-inf")

    def run_once(self) -> Sequence[SignedHead]:
        """Sign what is due; returns the signed heads. Trees that are long behind grow over several turns."""
        now = self._monotonic()
        if now - self._signed_at < self._every_s:
            return []
        self._signed_at = now
        signed = self._signer.sign_grown(self._steps)
        file = self._directory / f"heads-{self._signer.now().date().isoformat()}.jsonl"
        if file.exists():
            return signed
        with suppress(TreeUnderConstruction):
            signed = self._signer.sign_all(steps=lambda _: iter(()))  # the trees have just grown
            write_lines(file, documents(self._signer.public_keys(), signed))
        return signed

    def _steps(self, steps: Iterator[int]) -> Iterator[int]:
        for step in self._pace.steps(steps):
            yield step
            if self._monotonic() - self._signed_at > TURN_S:
                return
