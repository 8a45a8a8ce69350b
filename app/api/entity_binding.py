"""Keys that may act for some entities only: what their requests may name, in the path and elsewhere.

What belongs to another entity is answered as what does not exist. The gate asks for what a path names, so no view has
to think of it; what a body or a parameter names, the views and the services look at.
"""

from typing import Any

from msgspec import UNSET, UnsetType

from app.api.responses import Refused
from app.api.routes import Call
from app.domain.access_refusals import entity_out_of_reach
from app.domain.account_refusals import account_not_found
from app.domain.accounts import DEFAULT_ENTITY
from app.domain.journal_refusals import journal_not_found
from app.domain.payment_refusals import payment_not_found
from app.services.access.visibility import Visibility

OWNED = {
    "account_id": (Visibility.has_account, account_not_found),
    "payment_id": (Visibility.has_payment, payment_not_found),
    "journal_id": (Visibility.has_journal, journal_not_found),
    "refund_id": (Visibility.has_journal, payment_not_found),
}
"""The variables of paths that name something of an entity: how it is found, and the refusal of what is not there."""

OF_NOBODY = frozenset(
    {
        "audit_id",
        "break_id",
        "currency_code",
        "endpoint_id",
        "key_id",
        "match_id",
        "monitor_id",
        "proposal_id",
        "request_id",
        "run_id",
        "sign_off_id",
        "statement_account_id",
        "statement_id",
    }
)
"""Those that name something of no entity, or whose views look by themselves."""


def require_visible(call: Call[Any]) -> None:
    """Raise Refused, as for what does not exist, if the path names something of an entity out of the caller's reach."""
    for name, value in call.path.items():
        if name not in OF_NOBODY:
            _require(call, name, value)


def require_visible_payment(call: Call[Any], payment_id: str | None) -> None:
    """The same for a payment that a body names."""
    if payment_id is not None and call.entities is not None:
        _require(call, "payment_id", payment_id)


def _require(call: Call[Any], name: str, value: str) -> None:
    finds, not_found = OWNED[name]
    assert call.entities is not None
    if not finds(call.here.visibility, value, call.entities):
        raise Refused(not_found(value))


def entity_of(call: Call[Any], given: str | UnsetType = UNSET) -> str:
    """The entity that a request is about; where it names none, that of a key which has only one, else the default."""
    if not isinstance(given, UnsetType):
        return given
    return next(iter(call.entities)) if call.entities is not None and len(call.entities) == 1 else DEFAULT_ENTITY


def visible_entity(call: Call[Any], entity_id: str) -> str:
    """The entity to look in: that which is asked for, or one that cannot exist if it is out of the caller's reach."""
    return entity_id if call.entities is None or entity_id in call.entities else ""


def visible_account(call: Call[Any], account_id: str | None) -> str | None:
    """The account to look for: that which is asked for, or one that cannot exist if it is out of the caller's reach.

    So a search takes as long for an account of another entity as for none, however much there is about it.
    """
    if account_id is None or call.entities is None or call.here.visibility.has_account(account_id, call.entities):
        return account_id
    return ""


def require_own_entity(call: Call[Any], entity_id: str) -> None:
    """Raise Refused if something is to be made in an entity out of the caller's reach."""
    if call.entities is not None and entity_id not in call.entities:
        raise Refused(entity_out_of_reach([entity_id]))
