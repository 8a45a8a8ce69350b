"""The operations on API keys, described as those in `requests.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from holdfast_client import models
from holdfast_client.exchange import Request, path
from holdfast_client.request_parts import Page, deleting, getting, given, listing, posting


def create_key(
    name: str,
    scopes: Sequence[str],
    *,
    entities: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    rate_limit: models.RateLimit | None = None,
) -> Request[models.IssuedKey]:
    """Make an API key. Not repeated after a lost answer: its secret is told once."""
    body = given(
        name=name,
        scopes=list(scopes),
        entities=None if entities is None else list(entities),
        expires_at=expires_at,
        rate_limit=rate_limit,
    )
    return posting("/v1/keys", body, models.IssuedKey, repeatable=False)


def list_keys() -> Request[Page[models.Key]]:
    """The API keys, without their secrets."""
    return listing("/v1/keys", models.Key)


def get_key(key_id: str) -> Request[models.Key]:
    """An API key, without its secret."""
    return getting(path("/v1/keys/{key_id}", key_id=key_id), models.Key)


def rotate_key(key_id: str, *, overlap_hours: int | None = None) -> Request[models.IssuedKey]:
    """Make the successor of a key. Not repeated after a lost answer."""
    where = path("/v1/keys/{key_id}/rotate", key_id=key_id)
    return posting(where, given(overlap_hours=overlap_hours), models.IssuedKey, repeatable=False)


def revoke_key(key_id: str) -> Request[models.Key]:
    """End a key."""
    return deleting(path("/v1/keys/{key_id}", key_id=key_id), models.Key)
