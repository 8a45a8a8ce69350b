"""Writes the report."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.figures import Figures
from bench.report.charts import draw
from bench.report.markdown import markdown
from bench.report.page import page
from bench.targets import verdicts


def document(figures: Figures, environment: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Everything, for machines."""
    return {
        "environment": environment,
        "options": options,
        "targets": [asdict(one) | {"reached": one.reached} for one in verdicts(figures)],
        "figures": [figure.document() for figure in figures.all],
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """One file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_report(directory: Path, figures: Figures, environment: dict[str, Any], options: dict[str, Any]) -> None:
    """`report.md`, `report.html`, `report.json` and the plots."""
    directory.mkdir(parents=True, exist_ok=True)
    text = markdown(figures, environment, options)
    charts = draw(figures, directory)
    (directory / "report.md").write_text(text)
    (directory / "report.html").write_text(page(text, charts))
    write_json(directory / "report.json", document(figures, environment, options))
