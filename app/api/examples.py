"""Examples in the OpenAPI document: requests as they were really sent, and the answers to them.

`app/api/examples.json` is a recording: one story, in its order, on an empty installation. A test tells the story to the
running system again and compares; `python3 -m tests.system.example_story` records it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from app.api.routes import Route

RECORDING = Path(__file__).with_name("examples.json")


@cache
def _recorded() -> dict[str, list[dict[str, Any]]]:
    """The recorded calls of each operation."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(RECORDING.read_text(encoding="utf-8")):
        found.setdefault(one["operation"], []).append(one)
    return found


def add_examples(route: Route, described: dict[str, Any]) -> None:
    """Put a route's recorded calls into its part of the document."""
    for one in _recorded().get(route.name, ()):
        if one["body"] is not None:
            content = described["requestBody"]["content"]["application/json"]
            content.setdefault("examples", {})[one["name"]] = _example(one["summary"], one["body"])
        response = described["responses"].get(str(one["status"]), {})
        if "content" in response:
            content = response["content"][one["media_type"]]
            content.setdefault("examples", {})[one["name"]] = _example(one["summary"], one["answer"])
        for parameter in described["parameters"]:
            value = {**one["path"], **one["query"], **one["headers"]}.get(parameter["name"])
            if value is not None:
                parameter.setdefault("example", value)


def _example(summary: str, value: Any) -> Mapping[str, Any]:
    return {"summary": summary, "value": value}
