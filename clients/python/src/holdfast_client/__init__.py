"""The client of Holdfast: see README.md for a checkout in ten lines."""

from holdfast_client import models, refusals
from holdfast_client.async_client import AsyncClient
from holdfast_client.batches import Decided
from holdfast_client.client import Client
from holdfast_client.errors import (
    HoldfastError,
    InvalidWebhook,
    OutcomeUnknown,
    Refused,
    Unavailable,
    UnexpectedAnswer,
)
from holdfast_client.event_requests import EventType
from holdfast_client.ids import new_external_id
from holdfast_client.models import NewJournalEntry, NewPayment, SplitPart
from holdfast_client.request_parts import UNSET
from holdfast_client.webhooks import sign_webhook, verify_webhook

__all__ = [
    "UNSET",
    "AsyncClient",
    "Client",
    "Decided",
    "EventType",
    "HoldfastError",
    "InvalidWebhook",
    "NewJournalEntry",
    "NewPayment",
    "OutcomeUnknown",
    "Refused",
    "SplitPart",
    "Unavailable",
    "UnexpectedAnswer",
    "models",
    "new_external_id",
    "refusals",
    "sign_webhook",
    "verify_webhook",
]
