"""Sending webhooks: signed as Standard Webhooks says, to public addresses only, never on to another place.

A name is looked up and its addresses are checked; then the connection goes to the checked address itself, so no later
answer of the name server can lead it elsewhere. The certificate is still that of the name.
"""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import httpx
from standardwebhooks.webhooks import Webhook

from app.domain.errors import Misconfigured
from app.domain.webhook_urls import is_public, refuse_url
from app.domain.webhooks import MOST_ANSWER_BYTES, Sent
from app.name_lookups import NameLookups
from app.webhook_connections import Connections

CONNECT_S = 5.0
ANSWER_S = 15.0
"""How long an endpoint may take in all; receivers are to take an event and work on it later."""

CONTENT_TYPE = "application/cloudevents+json"


class NotAllowed(Exception):
    """An address to which nothing is sent."""


def signatures(event_id: str, moment: datetime, body: str, secrets: Sequence[str]) -> str:
    """The signature header: one for each secret, so that receivers may change theirs at leisure."""
    return " ".join(Webhook(secret).sign(event_id, moment, body) for secret in secrets)


def trusting(ca_file: str) -> ssl.SSLContext:
    """Believes certificates of the public authorities, and of those in a file if one is named; raises Misconfigured."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            why = "it has no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            told = f"HOLDFAST_WEBHOOK_CA_FILE must be a file of certificates in PEM; {ca_file}: {why}."
            raise Misconfigured(told) from error
    return context


class WebhookSender:
    """Sends, over connections that it keeps."""

    def __init__(self, *, allow_private: bool, ca_file: str = "") -> None:
        self._allow_private = allow_private
        self._trust = trusting(ca_file)
        self._names = NameLookups()
        self._connections = Connections(self._new_client)

    async def send(self, url: str, event_id: str, body: str, secrets: Sequence[str]) -> Sent:
        """Post one event; whatever goes wrong is in what is returned."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._post(url, event_id, body, secrets)
        except TimeoutError:
            return Sent(None, f"no answer within {ANSWER_S:.0f} s")
        except NotAllowed as error:
            return Sent(None, str(error))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Sent(None, _in_words(error, url)[:MOST_ANSWER_BYTES])

    async def _post(self, url: str, event_id: str, body: str, secrets: Sequence[str]) -> Sent:
        if reason := refuse_url(url, allow_private=self._allow_private):
            raise NotAllowed(f"the URL {reason}")
        parts = urlsplit(url)
        address = await self._address(parts)
        now = datetime.now(UTC)
        headers = {
            "host": parts.netloc,
            "content-type": CONTENT_TYPE,
            "user-agent": "Holdfast-Webhooks/1",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures(event_id, now, body, secrets),
        }
        async with self._connections.to(parts.netloc) as client:
            request = client.build_request(
                "POST",
                httpx.URL(url).copy_with(host=address),
                headers=headers,
                content=body.encode(),
                extensions={"sni_hostname": parts.hostname},
            )
            response = await client.send(request, stream=True)
            try:
                answer = await _start_of(response)
            finally:
                await response.aclose()
        return Sent(response.status_code, answer, _retry_after_s(response))

    async def _address(self, parts: SplitResult) -> str:
        """The address to connect to; raises NotAllowed if the name has one that is not public."""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        addresses = await self._names.addresses(parts.hostname or "", port)
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise NotAllowed(f"{parts.hostname} is at {address}, which is not public")
        return addresses[0]

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,  # a proxy would look names up by itself
            verify=self._trust,
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=30.0),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()


def _in_words(error: BaseException, url: str) -> str:
    """What went wrong before there was an answer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {urlsplit(url).hostname} is refused: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {error}"


async def _start_of(response: httpx.Response) -> str:
    """The beginning of an answer. The rest of a short one is read too, so that its connection can be kept."""
    read = b""
    async for piece in response.aiter_raw():
        read += piece
        if len(read) > 64 * 1024:
            break
    return read[:MOST_ANSWER_BYTES].decode(errors="replace")


def _retry_after_s(response: httpx.Response) -> float:
    """How long the endpoint asks to wait: seconds, or until a date (RFC 9110)."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdecimal() and len(text) < 7:
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
