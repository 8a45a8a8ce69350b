"""Which refusals a route can answer: those of its view, in groups that several routes share, and those of the gate."""

from app.api.responses import FAULT_CODES
from app.api.routes import Route
from app.domain.refusals import RefusalCode as Code

AMOUNT = frozenset({Code.AMOUNT_NOT_INTEGER, Code.AMOUNT_NOT_POSITIVE, Code.AMOUNT_OUT_OF_RANGE})
"""An amount in a body."""

NO_ACCOUNT = frozenset({Code.ACCOUNT_NOT_FOUND, Code.INVALID_ID})
"""An account that is not there; one whose id is decomposed may be meant for one that is."""

MOVEMENT = AMOUNT | {
    Code.INVALID_ID,
    Code.ACCOUNT_NOT_FOUND,
    Code.ACCOUNT_PAUSED,
    Code.ACCOUNT_FROZEN,
    Code.ACCOUNT_CLOSED,
    Code.ENTITY_MISMATCH,
    Code.EXTERNAL_ID_REUSED,
    Code.INSUFFICIENT_FUNDS,
    Code.BALANCE_OUT_OF_RANGE,
    Code.REJECTED_BY_LEDGER,
    Code.LEDGER_BACKLOGGED,
}
"""Whatever moves money: payments, journals, refunds."""

REFUND = frozenset({Code.PAYMENT_NOT_FOUND, Code.PAYMENT_NOT_POSTED, Code.REFUND_EXCEEDS_PAYMENT})
"""What gives a payment back."""

_ALWAYS = frozenset(
    {Code.MALFORMED_REQUEST, Code.PAYLOAD_TOO_LARGE, Code.REQUEST_TIMEOUT, Code.SERVER_BUSY, Code.INTERNAL_ERROR}
)
"""Any request may bring a body, and a query."""

_OF_CHANGES = frozenset({Code.CACHE_FULL, Code.CLOCKS_DISAGREE})
"""Faults that no reading meets."""


_NOT_THERE = {
    "account_id": NO_ACCOUNT,
    "payment_id": frozenset({Code.PAYMENT_NOT_FOUND}),
    "journal_id": frozenset({Code.JOURNAL_NOT_FOUND}),
    "refund_id": frozenset({Code.PAYMENT_NOT_FOUND}),
}
"""What a path names that is not there, or that belongs to an entity out of the key's reach."""


def codes_of(route: Route) -> list[Code]:
    """The codes of all refusals that a route can answer, in order of precedence."""
    found = set(_ALWAYS | route.refuses)
    if route.scope is not None:
        found |= {Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.RATE_LIMITED}
        found |= FAULT_CODES - _OF_CHANGES if route.method == "GET" else FAULT_CODES
    if route.body is not None:
        found.add(Code.UNSUPPORTED_CONTENT_ENCODING)
    for name in route.variables:
        found |= _NOT_THERE.get(name, frozenset())
    for declared in route.parameters:
        found.update(declared.refuses)
    return [code for code in Code if code in found]
