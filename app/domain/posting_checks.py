"""What the ledger refuses when it posts.

The cache has accepted these intents already. The ledger checks them again, against its own rows, and has the last word.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from app.domain.account_refusals import account_not_found
from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.ledger_rows import KnownOutcome, LedgerBalance, QueuedIntent
from app.domain.money import in_range
from app.domain.payment import Intent, Leg
from app.domain.payment_checks import differing_field
from app.domain.payment_refusals import (
    authorization_concluded,
    authorization_not_found,
    balance_out_of_range,
    currency_mismatch,
    entity_mismatch,
    external_id_refused,
    external_id_reused,
    ledger_below_floor,
    linked_payment_rejected,
)
from app.domain.refusals import Refusal

RowOf = Callable[[str], LedgerBalance | None]
"""Finds an account's row by its id; None if the ledger has no such account."""


def refuse_legs(intent: Intent, row_of: RowOf) -> Refusal | None:
    """Refuse an intent if the row of one of its accounts cannot take its leg."""
    for leg in intent.legs:
        row = row_of(leg.account_id)
        if row is not None and _takes(row, intent, leg.amount_minor):
            continue
        if row is not None and row.entity_id == intent.entity_id and row.currency_code != intent.currency_code:
            return currency_mismatch(leg.account_id, row.currency_code, intent.currency_code)
        if refusal := refuse_leg(leg, row, intent.entity_id):
            return refusal
    return None


def _takes(row: LedgerBalance, intent: Intent, amount_minor: int) -> bool:
    """Whether an account's row can take a leg of this amount; `refuse_legs` says why not."""
    change = row.normal_sign * amount_minor
    after = row.balance_minor + change
    return (
        row.entity_id == intent.entity_id
        and row.currency_code == intent.currency_code
        and (change >= 0 or row.floor_minor is None or after >= row.floor_minor)
        and in_range(after)
    )


def refuse_leg(leg: Leg, row: LedgerBalance | None, entity_id: str) -> Refusal | None:
    """Refuse a leg, in the currency of its account, that the account's row cannot take."""
    if row is None:
        return account_not_found(leg.account_id)
    if row.entity_id != entity_id:
        return entity_mismatch(account_id=leg.account_id, entity_id=row.entity_id)
    change = row.normal_sign * leg.amount_minor
    after = row.balance_minor + change
    if change < 0 and row.floor_minor is not None and after < row.floor_minor:
        return ledger_below_floor(leg.account_id, row.balance_minor, row.floor_minor, abs(leg.amount_minor))
    if not in_range(after):
        figures = {"account_id": leg.account_id, "balance_minor": row.balance_minor}
        return balance_out_of_range(leg.account_id, figures)
    return None


def refuse_known(intent: Intent, outcome: KnownOutcome) -> Refusal:
    """The refusal of an external id under which the ledger has something else, or has refused a payment."""
    if not intent.has_fingerprint(outcome.fingerprint):
        field = differing_field(intent.fingerprint, outcome.fingerprint)
        return external_id_reused(intent.external_id, field, payment_id=outcome.payment_id)
    return external_id_refused(intent.external_id, outcome.payment_id)


def refuse_group(
    group: Sequence[QueuedIntent],
    known: Mapping[tuple[str, str], KnownOutcome],
    refused: Mapping[str, Refusal],
    row_of: RowOf,
) -> dict[str, Refusal]:
    """If one intent of an atomic batch must be refused, the refusals of all, by payment id.

    The batch is tried on copies of the balances. `refused` are refusals that are decided already, by payment id.
    """
    account_ids = {account_id for queued in group for account_id in queued.account_ids}
    trial = {account_id: replace(row) for account_id in account_ids if (row := row_of(account_id)) is not None}
    for queued in group:
        payment_id, outcome = queued.outbox_position.payment_id, known.get(queued.key)
        if outcome is not None and outcome.payment_id == payment_id:
            return {}  # the ledger has decided this one before, and with it all the others
        if outcome is not None and outcome.posted and queued.intent.has_fingerprint(outcome.fingerprint):
            continue
        refusal = refused.get(payment_id) or _refuse_on(trial, queued.intent, outcome)
        if refusal is not None:
            linked = linked_payment_rejected(payment_id, refusal.code.value)
            return {one.outbox_position.payment_id: refusal if one is queued else linked for one in group}
    return {}


def _refuse_on(rows: Mapping[str, LedgerBalance], intent: Intent, outcome: KnownOutcome | None) -> Refusal | None:
    """The refusal of an intent on these rows, which are advanced if there is none."""
    if outcome is not None:
        return refuse_known(intent, outcome)
    if not intent.moves_money:
        return None
    if refusal := refuse_legs(intent, rows.get):
        return refusal
    for leg in intent.legs:
        row = rows[leg.account_id]
        row.balance_minor += row.normal_sign * leg.amount_minor
    return None


def refuse_conclusion(payment_id: str, authorization: Authorization | None) -> Refusal | None:
    """Refuse to conclude an authorization that does not exist or is concluded already."""
    if authorization is None:
        return authorization_not_found(payment_id)
    if authorization.state is not AuthorizationState.AUTHORIZED:
        return authorization_concluded(payment_id, authorization.state)
    return None
