"""`reference`: write the API reference from the routes themselves, as `docs/API.md` and `docs/openapi.json`.

It needs no running server: the application is built over services that nobody calls. Where the two files differ from
what this makes of the routes, a test fails.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from app.api.application import all_routes
from app.api.openapi import document
from app.command_line import PROJECT
from app.commands.api_markdown import api_markdown

DOCS = PROJECT / "docs"


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Write both files, and say where."""
    DOCS.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(PROJECT)}")
    return 0


def files() -> dict[Path, str]:
    """The generated files and what must stand in them."""
    openapi = openapi_document()
    return {
        DOCS / "openapi.json": json.dumps(openapi, indent=2, ensure_ascii=False) + "\n",
        DOCS / "API.md": api_markdown(openapi),
    }


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document that a server of this version answers."""
    return document(all_routes())
