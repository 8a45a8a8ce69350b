"""What the cache is told of an account that it does not have, or has wrong: read by the API, and by the proofs.

Nothing here knows SQLAlchemy, so the proofs can read it without that import.
"""

from collections.abc import Sequence
from typing import Any

from app.domain.ledger_rows import LedgerBalance
from app.domain.payment import parse_payment_id

# One statement sees one moment. Its first row is there even where there is no such account.
FOR_HYDRATION = """
SELECT s.value, h.payment_ids, h.amounts, b.account_id, b.entity_id, b.currency_code, b.normal_sign, b.balance_minor,
    b.floor_minor, b.version, b.entry_count, b.updated_at
FROM ledger_setting s LEFT JOIN account_balance b ON b.account_id = ANY(%s::text[])
LEFT JOIN LATERAL (SELECT array_agg(payment_id) AS payment_ids, array_agg(hold_minor) AS amounts FROM hold
    WHERE guarded_account_id = b.account_id AND state = 'authorized' AND hold_minor > 0) h ON true
WHERE s.name = 'directory_version'
"""

Hydration = tuple[int, dict[str, LedgerBalance], dict[str, dict[str, int]]]
"""Of one moment: the directory version, balances by account, and the amounts that open authorizations hold by account
and outbox position."""


def hydration_from(rows: Sequence[tuple[Any, ...]]) -> Hydration:
    """The rows of FOR_HYDRATION."""
    balances: dict[str, LedgerBalance] = {}
    open_holds: dict[str, dict[str, int]] = {}
    for _, payment_ids, amounts, account_id, *others in rows:
        if account_id is not None:
            balances[account_id] = LedgerBalance(account_id, *others)
        if payment_ids:
            open_holds[account_id] = dict(zip(map(_position, payment_ids), amounts, strict=True))
    return int(rows[0][0]), balances, open_holds


def _position(payment_id: str) -> str:
    """Where the intent of an authorization stood in its outbox: its hold has that name."""
    outbox_position = parse_payment_id(payment_id)
    assert outbox_position is not None
    return outbox_position.stream_id
