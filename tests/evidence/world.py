"""A world with an auditor in it: who keeps heads, asks for packets, and has the file verifier and nothing else."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema
import psycopg

from app.command_line import PROJECT
from app.domain.breaks import ChainRange
from app.domain.hash_chain import GENESIS_HASH, chain_hash
from app.domain.payment import DEFAULT_PARTITIONS, parse_payment_id, partition_of
from app.heads_files import documents, write_lines
from app.ledger.hash_chain import LedgerChains
from app.services.proofs.signed_heads import HeadSigner
from app.wiring.evidence import build_head_signer
from tests.journals.world import JournalWorld
from tests.patience import COMMAND_S

SCHEMA = json.loads((PROJECT / "docs" / "evidence.schema.json").read_text())


class EvidenceWorld(JournalWorld):
    """What a test of evidence does besides."""

    @cached_property
    def signer(self) -> HeadSigner:
        """What signs heads, as the maintenance worker does."""
        return build_head_signer(self.settings)

    def export(self, path: Path) -> Path:
        """Sign the heads of all chains into a file, as `heads export` does."""
        heads = self.signer.sign_all()
        write_lines(path, documents(self.signer.public_keys(), heads))
        return path

    def prove(self, path: Path, newer: Path, *kept: Path) -> Path:
        """Write the proofs from kept heads to newer ones, as `heads prove` does."""
        sizes = [one for file in kept for one in sizes_in(file).items()]
        write_lines(path, self.signer.proofs(sizes, list(sizes_in(newer).items())))
        return path

    def evidence(self, path: str, **query: Any) -> dict[str, Any]:
        """A packet, which has the shape that the schema says."""
        response = self.get(path, query_string=query)
        assert response.status_code == 200, response.text
        packet: dict[str, Any] = response.get_json()
        jsonschema.Draft202012Validator(SCHEMA).validate(packet)
        return packet

    def of_payment(self, payment_id: str, **query: Any) -> dict[str, Any]:
        """The packet of a payment."""
        return self.evidence(f"/v1/payments/{payment_id}/evidence", **query)

    # What somebody with all rights over the database does

    def tamper(self, *statements: str) -> None:
        """Change rows with the guards switched off."""
        with psycopg.connect(self.settings.owner_database_url) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def rewrite(self, *statements: str, partition: int, forgets_heads: bool = True) -> None:
        """Change rows, then make the whole chain and everything that the database keeps of it fit the change."""
        self.tamper(*statements)
        place = f"partition = {partition}"
        [(last,)] = self.sql(f"SELECT chain_seq FROM partition WHERE {place}")
        chains, updates, previous = LedgerChains(self.settings.database_url), [], GENESIS_HASH
        for one in chains.chain(ChainRange(partition, 0, last, b"")):
            one.previous_hash = previous
            previous = chain_hash(one)
            updates.append(
                f"UPDATE ledger_transaction SET previous_hash = '\\x{one.previous_hash.hex()}', hash = "
                f"'\\x{previous.hex()}' WHERE {place} AND chain_seq = {one.chain_seq}"
            )
        chains.close()
        head = f"UPDATE partition SET chain_hash = '\\x{previous.hex()}' WHERE {place}"
        tables = ["merkle_subtree", "chain_head_export", *["signed_head"] * forgets_heads]
        self.tamper(*updates, head, *(f"DELETE FROM {table} WHERE {place}" for table in tables))


def doubled(payment_id: str) -> str:
    """The statement that doubles what a payment has moved."""
    return (
        "UPDATE entry SET amount_minor = 2 * amount_minor WHERE (partition, chain_seq) = (SELECT partition, chain_seq "
        f"FROM ledger_transaction WHERE payment_id = '{payment_id}')"
    )


def chain_of(payment_id: str) -> int:
    """The partition of a payment, whose chain has its transaction."""
    position = parse_payment_id(payment_id)
    assert position is not None
    return position.partition


def chain_of_account(account_id: str) -> int:
    """The partition of an account."""
    return partition_of(account_id, DEFAULT_PARTITIONS)


def sizes_in(heads: Path) -> dict[int, int]:
    """The size of each chain in a file of heads."""
    lines = [json.loads(line) for line in heads.read_text().splitlines()]
    return {line["partition"]: line["chain_seq"] for line in lines if line["format"] == "holdfast-head/1"}


@dataclass
class Auditor:
    """Somebody elsewhere: a directory with files that were kept, and the verifier as a single file."""

    directory: Path

    def __post_init__(self) -> None:
        shutil.copy(PROJECT / "tools" / "verify_evidence.py", self.directory)

    def keep(self, packet: Any, name: str = "packet.json") -> Path:
        """Write a packet into a file; a text goes as it is."""
        path = self.directory / name
        path.write_text(packet if isinstance(packet, str) else json.dumps(packet, indent=2, ensure_ascii=False))
        return path

    def verify(self, *arguments: Any) -> tuple[int, str]:
        """Run the verifier, with nothing of ours to be imported; its exit code and what it said."""
        done = subprocess.run(
            [sys.executable, "-I", self.directory / "verify_evidence.py", *map(str, arguments)],
            cwd=self.directory,
            env={},
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    def holds(self, *arguments: Any) -> str:
        """What the verifier says of evidence that holds."""
        code, said = self.verify(*arguments)
        assert (code, said.partition("\n")[0]) == (0, "HOLDS"), said
        return said

    def refutes(self, *arguments: Any) -> str:
        """What the verifier says of evidence that is false."""
        code, said = self.verify(*arguments)
        assert code == 1, said
        assert said.startswith("FALSE: ")
        return said
