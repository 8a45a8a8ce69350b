"""Administering webhook endpoints: make, change, rotate, delete, and have dead events sent again."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from app.domain.events import after_all_of
from app.domain.webhook_urls import refuse_url
from app.domain.webhooks import SECRET_PREFIX, Endpoint, EndpointState, NewEndpoint

if TYPE_CHECKING:
    from app.ledger.events import EventFeed
    from app.ledger.webhooks import LedgerWebhooks

DEFAULT_OVERLAP_H = 24
LONGEST_OVERLAP_H = 30 * 24


@dataclass(slots=True, frozen=True)
class IssuedEndpoint:
    """An endpoint, and its new secret: this is its only showing."""

    endpoint: Endpoint
    secret: str = field(repr=False)


class UnusableUrl(ValueError):
    """A URL to which nothing is ever sent; the message completes a sentence that begins with `url`."""


class Endpoints:
    """The endpoints, for those who administer them. `entities` are those that the caller may act for."""

    def __init__(self, ledger: LedgerWebhooks, feed: EventFeed, *, allow_private: bool) -> None:
        self.ledger = ledger
        self._feed = feed
        self._allow_private = allow_private

    def create(self, new: NewEndpoint, actor: str) -> IssuedEndpoint:
        """Make an endpoint that is told of everything from now on; raises UnusableUrl."""
        self._require_usable(new.url)
        secret = _new_secret()
        cursor = after_all_of(self._feed.sequence())
        endpoint_id = f"whe_{secrets.token_hex(8)}"
        return IssuedEndpoint(self.ledger.add(endpoint_id, new, secret, cursor, actor), secret)

    def change(
        self, endpoint_id: str, fields: Mapping[str, Any], actor: str, entities: Collection[str] | None
    ) -> Endpoint | None:
        """Change name, url, types or state; None if there is no such endpoint. Raises UnusableUrl."""
        if "url" in fields:
            self._require_usable(fields["url"])
        return self.ledger.change(endpoint_id, fields, actor, entities)

    def delete(self, endpoint_id: str, actor: str, entities: Collection[str] | None) -> Endpoint | None:
        """Tell an endpoint of nothing more, for good; its log stays. None if there is none."""
        return self.ledger.change(endpoint_id, {"state": EndpointState.DELETED.value}, actor, entities)

    def rotate(
        self, endpoint_id: str, overlap: timedelta, actor: str, entities: Collection[str] | None
    ) -> IssuedEndpoint | None:
        """Give an endpoint a new secret, and sign with the former one too for a while; None if there is none."""
        secret = _new_secret()
        if not self.ledger.rotate(endpoint_id, secret, overlap, actor, entities):
            return None
        endpoint = self.ledger.get(endpoint_id, entities)
        return None if endpoint is None else IssuedEndpoint(endpoint, secret)

    def resend(
        self, endpoint_id: str, event_ids: Sequence[str] | None, actor: str, entities: Collection[str] | None
    ) -> int | None:
        """Have dead events sent again, or all of them; returns how many. None if there is no such endpoint."""
        if self.ledger.get(endpoint_id, entities) is None:
            return None
        return self.ledger.resend(endpoint_id, event_ids, actor)

    def _require_usable(self, url: str) -> None:
        if reason := refuse_url(url, allow_private=self._allow_private):
            raise UnusableUrl(reason)


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
