"""What both clients share of httpx: where Holdfast is, how an attempt is sent, and what a failure says."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from holdfast_client.exchange import NoAnswer, Send

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""What fails before anything of a request is sent."""

VERSION = "0.1.0"

UNBOUND = httpx.Timeout(None)
"""Each attempt brings a bound of its own."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where Holdfast is, and the key to it."""

    base_url: str
    key: str

    def request(self, send: Send) -> httpx.Request:
        """An attempt as httpx has it."""
        asked = send.request
        return httpx.Request(
            asked.method,
            self.base_url.rstrip("/").removesuffix("/v1") + asked.path,
            params=dict(asked.query) or None,
            headers={
                "Authorization": f"Bearer {self.key}",
                "Accept": "application/json, application/x-ndjson, application/problem+json",
                "User-Agent": f"holdfast-client-python/{VERSION}",
                **send.headers,
            },
            content=asked.content,
            extensions={"timeout": httpx.Timeout(send.timeout_s).as_dict()},
        )


def no_answer(error: Exception) -> NoAnswer:
    """A failed attempt; whether anything of it was sent."""
    return NoAnswer(f"{type(error).__name__}: {error}", is_sent=not isinstance(error, NOT_SENT))
