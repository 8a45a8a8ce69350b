"""One page with everything in it: it can be opened from a disk, and sent by mail."""

import html
from pathlib import Path

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Holdfast benchmark</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }}
table {{ border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }}
th, td {{ border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left; vertical-align: top; }}
figure {{ margin: 1rem 0; }} svg {{ max-width: 100%; height: auto; }}
</style></head><body>
{body}
</body></html>
"""


def page(text: str, charts: list[Path]) -> str:
    """The markdown of the report as HTML, each scenario with its plots."""
    blocks: list[str] = []
    rows: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append(line)
            continue
        if rows:
            blocks.append(_table(rows))
            rows = []
        if line.startswith("## "):
            blocks.append(f"<h2>{_inline(line[3:])}</h2>")
            blocks += [_figure(path) for path in charts if path.stem.startswith(f"{line[3:]}-")]
        elif line.startswith("# "):
            blocks.append(f"<h1>{_inline(line[2:])}</h1>")
        elif line:
            blocks.append(f"<p>{_inline(line)}</p>")
    return TEMPLATE.format(body="\n".join(blocks))


def _table(rows: list[str]) -> str:
    head, _, *body = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    lines = ["<tr>" + "".join(f"<th>{_inline(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in cells) + "</tr>" for cells in body]
    return "<table>" + "\n".join(lines) + "</table>"


def _inline(text: str) -> str:
    parts = html.escape(text).split("**")
    return "".join(f"<strong>{part}</strong>" if index % 2 else part for index, part in enumerate(parts))


def _figure(path: Path) -> str:
    svg = path.read_text()
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"
