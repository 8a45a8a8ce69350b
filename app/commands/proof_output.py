"""The reports of `reconcile`, `verify` and `replay` as text for a person, or as JSON."""

import json
from dataclasses import asdict

from app.domain.breaks import ProofReport
from app.services.proofs.repair import RepairReport


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
