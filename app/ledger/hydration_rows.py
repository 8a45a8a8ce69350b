"""What the cache is told of an account that it lacks or has wrong. The API and the proofs read it.

This module does not import SQLAlchemy, so the proofs start without it.
"""

from collections.abc import Sequence
from typing import Any

from app.domain.ledger_rows import LedgerBalance
from app.domain.payment import stream_id_of

# One statement reads one snapshot. There is a first row even if there is no such account.
FOR_HYDRATION = """
SELECT s.value, h.payment_ids, h.amounts, b.account_id, b.entity_id, b.currency_code, b.normal_sign, b.balance_minor,
    b.floor_minor, b.version, b.entry_count, b.updated_at
FROM ledger_setting s LEFT JOIN account_balance b ON b.account_id = ANY(%s::text[])
LEFT JOIN LATERAL (SELECT array_agg(payment_id) AS payment_ids, array_agg(hold_minor) AS amounts FROM hold
    WHERE guarded_account_id = b.account_id AND state = 'authorized' AND hold_minor > 0) h ON true
WHERE s.name = 'directory_version'
"""

Hydration = tuple[int, dict[str, LedgerBalance], dict[str, dict[str, int]]]
"""From one snapshot: the directory version, balances by account, and the amounts in minor units that open
authorizations hold, by account and by the stream id of their intent."""


def hydration_from(rows: Sequence[tuple[Any, ...]]) -> Hydration:
    """The rows of FOR_HYDRATION."""
    balances: dict[str, LedgerBalance] = {}
    open_holds: dict[str, dict[str, int]] = {}
    for _, payment_ids, amounts, account_id, *others in rows:
        if account_id is not None:
            balances[account_id] = LedgerBalance(account_id, *others)
        if payment_ids:
            open_holds[account_id] = dict(zip(map(stream_id_of, payment_ids), amounts, strict=True))
    return int(rows[0][0]), balances, open_holds
