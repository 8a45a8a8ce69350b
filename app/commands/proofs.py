"""What `reconcile` and `verify` print."""

import json
from dataclasses import asdict

from app.domain.proof import ProofReport


def as_json(report: ProofReport) -> str:
    """The whole report."""
    return json.dumps(asdict(report), indent=2)


def as_text(report: ProofReport) -> str:
    """For a person."""
    lines = [f"{report.mode} run{f' {report.run_id}' if report.run_id else ''}, {report.seconds:.2f} s"]
    lines += [f"  {number:>12,} {what.replace('_', ' ')}" for what, number in report.checked.items()]
    lines += [f"  BREAK {found.kind.value} on {found.subject}: {found.figures}" for found in report.breaks]
    lines.append(f"{report.open_breaks} open breaks" if report.open_breaks else "No break is open.")
    return "\n".join(lines)
