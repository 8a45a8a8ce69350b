"""Wiring of what tells others of events: the feed, the deliverer and the monitors."""

import random
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Engine

from app.ledger.account_events import AccountEvents
from app.ledger.engine import rows_of
from app.ledger.events import EventFeed
from app.ledger.monitors import LedgerMonitors
from app.ledger.webhook_deliveries import DeliveryLock, LedgerDeliveries
from app.ledger.webhooks import LedgerWebhooks
from app.services.events.deliver import Deliverer
from app.services.events.endpoint_work import EndpointWork
from app.services.events.endpoints import Endpoints
from app.services.events.monitors import MonitorFollower, Monitors
from app.settings import Settings
from app.webhook_sender import WebhookSender
from app.wiring.services import build_engine


def build_event_feed(engine: Engine) -> EventFeed:
    """The events of the ledger."""
    return EventFeed(rows_of(engine))


def build_endpoints(settings: Settings, engine: Engine) -> Endpoints:
    """The webhook endpoints, for those who administer them."""
    return Endpoints(LedgerWebhooks(engine), build_event_feed(engine), allow_private=settings.allow_private_webhooks)


def build_monitors(engine: Engine) -> Monitors:
    """The balance monitors, for those who administer them."""
    return Monitors(LedgerMonitors(engine))


def build_deliverer(settings: Settings) -> Deliverer:
    """What tells webhook endpoints."""
    engine = build_engine(settings, "deliver")
    ledger, feed = LedgerDeliveries(engine), build_event_feed(engine)
    sender = WebhookSender(allow_private=settings.allow_private_webhooks, ca_file=settings.webhook_ca_file)
    new_work = partial(
        EndpointWork, ledger=ledger, feed=feed, sender=sender, now=partial(datetime.now, UTC), jitter=random.random
    )
    return Deliverer(ledger, feed, new_work)


def build_delivery_lock(settings: Settings) -> DeliveryLock:
    """What keeps two deliverers from telling the same."""
    return DeliveryLock(settings.database_url)


def build_monitor_follower(settings: Settings) -> MonitorFollower:
    """What follows monitored accounts."""
    engine = build_engine(settings, "monitors")
    rows = rows_of(engine)
    return MonitorFollower(LedgerMonitors(engine), AccountEvents(rows, EventFeed(rows)))
