"""Metadata that callers attach: bounded in size and depth."""

from typing import Any

import msgspec

from app.api.json_body import malformed

DEEPEST_METADATA = 32
"""Far below what any writer, hash or database on its way would stumble over."""


def checked_metadata(metadata: dict[str, Any] | None, limit: int) -> dict[str, Any] | None:
    """Metadata of at most `limit` bytes as JSON, and not too deep."""
    if metadata is None:
        return None
    if len(msgspec.json.encode(metadata)) > limit:
        raise malformed(f"metadata is larger than {limit} bytes.", field="metadata")
    if _deeper_than(DEEPEST_METADATA, metadata):
        raise malformed(f"metadata is nested deeper than {DEEPEST_METADATA} levels.", field="metadata")
    return metadata


def _deeper_than(depth: int, value: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper_than(depth - 1, one) for one in inner)
