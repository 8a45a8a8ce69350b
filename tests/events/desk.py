"""Endpoints of a world, and what delivers to them round by round, without a process of its own."""

import asyncio
from datetime import UTC, datetime, timedelta

from app.domain.webhooks import NewEndpoint
from app.ledger.engine import rows_of
from app.ledger.events import EventFeed
from app.ledger.webhook_deliveries import LedgerDeliveries
from app.ledger.webhooks import LedgerWebhooks
from app.services.events.endpoint_work import EndpointWork
from app.services.events.endpoints import Endpoints, IssuedEndpoint
from app.webhook_sender import WebhookSender
from tests.events.receiver import Receiver
from tests.events.world import EVERYTHING, read
from tests.world import World


class Desk:
    """Endpoints of a world, and what delivers to them round by round."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.feed = EventFeed(rows_of(world.engine))
        self.endpoints = Endpoints(LedgerWebhooks(world.engine), self.feed, allow_private=True)
        self.deliveries = LedgerDeliveries(world.engine)
        self.ca_file = ""
        """Authorities that the deliverer trusts besides the public ones."""

    def known(self, endpoint_id: str) -> IssuedEndpoint:
        """An endpoint that somebody else has made, who has its secret."""
        endpoint = self.endpoints.ledger.get(endpoint_id)
        assert endpoint is not None
        return IssuedEndpoint(endpoint, "")

    def made(self, receiver: Receiver, **more: object) -> IssuedEndpoint:
        issued = self.endpoints.create(NewEndpoint(receiver.url, **more), "key:test")  # type: ignore[arg-type]
        receiver.secrets.append(issued.secret)
        return issued

    def rounds(self, issued: IssuedEndpoint, count: int = 1, *, later: timedelta = timedelta()) -> EndpointWork:
        """Work for an endpoint as a new process does; `later` is how far the clock is ahead."""
        return asyncio.run(self._rounds(issued, count, later))

    async def _rounds(self, issued: IssuedEndpoint, count: int, later: timedelta) -> EndpointWork:
        self.feed.sequence()
        [endpoint] = [one for one in self.deliveries.endpoints() if one.endpoint_id == issued.endpoint.endpoint_id]
        sender = WebhookSender(allow_private=True, ca_file=self.ca_file)
        work = EndpointWork(
            endpoint, self.deliveries, self.feed, sender, lambda: datetime.now(UTC) + later, lambda: 0.5
        )
        work.secrets = self.deliveries.secrets().get(endpoint.endpoint_id, ())
        for _ in range(count):
            await work.round()
            while work.is_sending:
                await work.round()
        await sender.close()
        return work

    def pay(self, count: int = 1) -> None:
        for _ in range(count):
            self.world.accepted("alice", "bob", 1)
        self.world.drain()

    def events_after(self, issued: IssuedEndpoint) -> list[str]:
        return [one.event_id for one in read(self.feed, issued.endpoint.cursor, EVERYTHING)]
