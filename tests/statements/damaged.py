"""Files of every format to damage, and what must hold of whatever a reader makes of them."""

import json
from typing import Any

from app.domain.money import MAX_MINOR
from app.domain.statement import UnreadableStatement
from tests.statements.month import FILES, Month, right_month
from tests.statements.reading import Read, read, stripe, stripe_row
from tests.statements.test_stripe import api_object

SHORT = Month(lines=right_month().lines[:6])

ROWS = [stripe_row(str(n), "charge", f"{n}.10", "0.10", f"{n}.00", payout="po_1") for n in range(1, 5)]
OBJECTS = [api_object(str(n), 100 + n, 3) for n in range(5)]

WHOLE: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    **{name: (name, write(SHORT).encode(), options) for name, (write, options) in FILES.items()},
    "stripe reports": ("stripe", stripe(*ROWS).encode(), {}),
    "stripe objects": ("stripe", "\n".join(json.dumps(one) for one in OBJECTS).encode(), {}),
    "stripe list": ("stripe", json.dumps({"object": "list", "data": OBJECTS}).encode(), {}),
}


def tried(format: str, content: bytes, options: dict[str, Any]) -> Read | None:
    try:
        return read(format, content, options=options)
    except UnreadableStatement:
        return None


def check(format: str, content: bytes, options: dict[str, Any]) -> None:
    """A reader refuses what it cannot read, or its sums are what its lines say, and it proves no wrong one."""
    found = tried(format, content, options)
    if found is None:
        return
    assert all(isinstance(amount, int) and abs(amount) <= MAX_MINOR for amount in found.amounts)
    assert sum(one.sum_minor for one in found.tally.statements.values()) == sum(found.amounts)
    for one in found.tally.statements.values():
        if one.proof == "proven":
            assert one.opening is not None
            assert one.closing is not None
            assert one.opening.amount_minor + one.sum_minor == one.closing.amount_minor
