"""The proofs: `reconcile` proves that the cache and the ledger agree, `verify` recomputes the hash chains.

`reconcile` ends with exit code 1 while a break is open, for cron. `verify` ends with 1 if something is false, with 2
if the exported heads cannot be read. With `--packet` or `--consistency` it checks evidence with no server at all.

It also appends verified heads to `<data-dir>/chain-heads.jsonl`: keep copies of that file elsewhere, and a tail that is
cut off together with every trace in the database still shows. Every head of the file must be in its chain. Heads that
versions before the signed ones have exported are read too.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from app.commands.connection import ACTOR, connected
from app.domain.breaks import Head, ProofReport
from app.domain.errors import SigningKeyUnusable
from app.domain.signed_heads import HEAD_FORMAT, KEY_FORMAT
from app.heads_files import documents
from app.ledger.cache_identity import LedgerCacheIdentity
from app.services.proofs.repair import RepairReport
from app.settings import Settings
from app.wiring.evidence import build_head_signer
from app.wiring.proofs import build_repair
from app.wiring.workers import build_reconciler, build_verifier
from tools import verify_evidence

HEADS_FILE = "chain-heads.jsonl"
HASH_BYTES = 32


class HeadsUnreadable(Exception):
    """The file of exported heads is missing or is not one; the message says what is wrong."""


def reconcile(arguments: argparse.Namespace) -> int:
    """Reconcile once, or reconcile, repair and reconcile again."""
    with connected(arguments.data_dir) as settings:
        losses = LedgerCacheIdentity(settings.database_url)
        if arguments.accept_losses is not None:
            losses.accept_losses(ACTOR, arguments.accept_losses.strip())
        if arguments.repair is None:
            report = build_reconciler(settings).run(full=arguments.full)
            report.breaks += losses.open_losses()
            print(as_json(report) if arguments.json else as_text(report))
        else:
            repair = build_repair(settings).run(ACTOR, arguments.repair)
            report = repair.proof
            report.breaks += losses.open_losses()
            print(as_json(repair) if arguments.json else repair_as_text(repair))
    return 1 if report.open_breaks else 0


def verify(arguments: argparse.Namespace) -> int:
    """Verify once. Exit code 1 where a chain is broken, 2 where the exported heads cannot be read."""
    if arguments.packet is not None:
        return verify_evidence.run(arguments.head, arguments.proof, arguments.key, arguments.packet)
    if arguments.consistency is not None:
        *heads, proof = arguments.consistency
        return verify_evidence.run(heads, [proof, *arguments.proof], arguments.key)
    return _verify_ledger(arguments)


def _verify_ledger(arguments: argparse.Namespace) -> int:
    kept = arguments.data_dir / HEADS_FILE
    try:
        heads = _read(arguments.heads or kept) if arguments.heads or kept.exists() else []
        if arguments.heads and not heads:
            raise HeadsUnreadable(f"The file {arguments.heads} has no exported heads.")
    except HeadsUnreadable as unreadable:
        print(f"{unreadable} Nothing was verified.", file=sys.stderr)
        return 2
    except verify_evidence.Refuted as refuted:
        print(f"The exported heads are false: {refuted}. Nothing was verified.", file=sys.stderr)
        return 1
    with connected(arguments.data_dir) as settings:
        verifier = build_verifier(settings)
        report = verifier.run(heads)
        if not report.breaks:
            _append(kept, _export(settings, verifier.heads()))
    print(as_json(report) if arguments.json else as_text(report))
    return 1 if report.breaks else 0


def _read(path: Path) -> list[Head]:
    """Every exported head of the file; HeadsUnreadable where a line is not one, Refuted where a signature is false."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HeadsUnreadable(f"The exported heads in {path} cannot be read: {error}.") from error
    signed = verify_evidence.Files()
    heads = [head for number, line in enumerate(lines, 1) if (head := _parsed(path, number, line, signed))]
    if signed.heads:
        signed.settle_trust()
    return heads


def _parsed(path: Path, number: int, line: str, signed: verify_evidence.Files) -> Head | None:
    """The head in a line, where it has begun; a signed one and a key are added to `signed` too."""
    try:
        head = json.loads(line)
        if head.get("format") in (HEAD_FORMAT, KEY_FORMAT):
            signed.add(line, f"line {number} of {path}")
        if head.get("format") == KEY_FORMAT or (head.get("format") == HEAD_FORMAT and head["chain_seq"] == 0):
            return None
        partition, chain_seq, chain_hash = head["partition"], head["chain_seq"], bytes.fromhex(head["chain_hash"])
        is_head = type(partition) is int and type(chain_seq) is int and len(chain_hash) == HASH_BYTES
    except (ValueError, TypeError, KeyError, AttributeError, verify_evidence.Unproven):
        is_head = False
    if not is_head or not 0 <= partition < 2**15 or not 0 < chain_seq < 2**63:
        raise HeadsUnreadable(f"Line {number} of {path} is not an exported head.")
    return partition, chain_seq, chain_hash


def _export(settings: Settings, heads: list[Head]) -> list[dict[str, object]]:
    """The present heads, signed; without a signature where this command may not use the key."""
    signer = build_head_signer(settings)
    try:
        signed = signer.sign_all() if heads else []
        return documents(signer.public_keys(), signed) if signed else []
    except SigningKeyUnusable as unusable:
        print(f"The heads are exported without a signature. {unusable}", file=sys.stderr)
        return [
            {"partition": partition, "chain_seq": chain_seq, "chain_hash": chain_hash.hex()}
            for partition, chain_seq, chain_hash in heads
        ]


def _append(path: Path, lines: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def as_json(report: ProofReport | RepairReport) -> str:
    """The whole report."""
    return json.dumps(asdict(report), indent=2)


def as_text(report: ProofReport) -> str:
    """For a person."""
    lines = [f"{report.mode} run{f' {report.run_id}' if report.run_id else ''}, {report.seconds:.2f} s"]
    lines += [f"  {number:>12,} {what.replace('_', ' ')}" for what, number in report.checked.items()]
    lines += [f"  HEALED {found.kind.value} on {found.subject}: {found.figures}" for found in report.healed]
    lines += [f"  BREAK {found.kind.value} on {found.subject}: {found.figures}" for found in report.breaks]
    lines.append(f"{report.open_breaks} open breaks" if report.open_breaks else "No break is open.")
    return "\n".join(lines)


def repair_as_text(repair: RepairReport) -> str:
    """For a person: what was rebuilt, then the proof that followed."""
    lines = [
        f"REPAIRED {account_id}: {found.kind.value} {found.figures}"
        for account_id, breaks in repair.repaired.items()
        for found in breaks
    ]
    if repair.in_doubt:
        kinds = ", ".join(sorted({found.kind.value for found in repair.in_doubt}))
        lines.append(
            f"Nothing was repaired: the cache is rebuilt from the ledger, and the ledger itself is in doubt ({kinds})."
        )
    elif not lines:
        lines.append("Nothing is wrong in the cache; nothing was repaired.")
    return "\n".join([*lines, as_text(repair.proof)])
