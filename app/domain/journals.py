"""Journals and reversals, and what they share with refunds: movements of many legs, posted while the caller waits.

An `Order` is what a caller asks for. Checked against the accounts it becomes a `Draft`. Intents hold the draft's funds
in the cache, and `plan_journal` decides it over the rows that the posting transaction has locked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from json import dumps
from typing import Any

from app.domain.accounts import AccountFacts
from app.domain.hash_chain import LedgerTransaction, TransactionFacts, canonical_json
from app.domain.journal_refusals import account_listed_twice, journal_unbalanced
from app.domain.ledger_rows import HOLD_SEPARATOR, ChainHead, LedgerBalance, PaymentReturn, PostingPlan
from app.domain.payment import Intent, Kind, Leg
from app.domain.payment_checks import (
    differing_field,
    digest_of,
    refuse_amount,
    refuse_barred,
    refuse_id,
    refuse_unknown,
)
from app.domain.payment_refusals import entity_mismatch, external_id_reused
from app.domain.posting_checks import refuse_leg
from app.domain.posting_plan import Planner
from app.domain.refusals import Refusal
from app.domain.timestamps import cut_to_milliseconds, to_microseconds

FEWEST_ENTRIES = 2
MOST_ENTRIES = 200
"""A journal locks a row for each entry; a longer one is better sent as several."""

JOURNAL_KINDS = frozenset({Kind.JOURNAL.value, Kind.REVERSAL.value})
_ID_PREFIX = {Kind.JOURNAL: "jrn", Kind.REVERSAL: "jrn", Kind.REFUND: "ref"}
_FIELDS = {
    Kind.JOURNAL: ("kind", "entries", "reason", "effective_at", "metadata", "relates_to_payment_id"),
    Kind.REVERSAL: ("kind", "journal_id", "reason"),
    Kind.REFUND: ("kind", "payment_id", "amount_minor", "reason"),
}


@dataclass(slots=True, frozen=True)
class Order:
    """What a caller asks for, before any look-up: enough to recognise a repeat."""

    kind: Kind
    external_id: str
    fingerprint: str
    actor: str
    reason: str | None
    relates_to: str | None = None
    """The payment that a refund or a journal gives back, or the journal that a reversal undoes."""
    gives_back: str | None = None
    """The payment of which it changes what is refundable."""
    former_fingerprints: tuple[str, ...] = ()
    """What earlier versions took as the fingerprint of the same content, where it was another."""


@dataclass(slots=True, frozen=True)
class JournalLine:
    """One entry as asked for; minor units."""

    account_id: str
    is_debit: bool
    amount_minor: int


@dataclass(slots=True, frozen=True)
class JournalRequest:
    """A journal as asked for.

    `effective_at` says as of when reports count it, in the past or in the future. It delays nothing: the balances
    change, and what is credited can be spent, when the journal is posted.
    """

    external_id: str
    lines: Sequence[JournalLine]
    reason: str
    effective_at: datetime | None = None
    metadata: dict[str, Any] | None = None
    payment_id: str | None = None
    """The payment that it gives back, in whole or in part."""
    entities: frozenset[str] | None = None
    """The entities that the caller may act for; None is all of them. Accounts of others do not exist for it."""

    @property
    def legs(self) -> list[Leg]:
        """The lines as signed amounts, debit positive."""
        return [Leg(one.account_id, one.amount_minor if one.is_debit else -one.amount_minor) for one in self.lines]

    @property
    def account_ids(self) -> list[str]:
        """The accounts, in the order of the lines."""
        return [one.account_id for one in self.lines]


@dataclass(slots=True)
class Draft:
    """An order with its legs, checked against the accounts; the cache and the ledger check the balances."""

    order: Order
    entity_id: str
    legs: list[Leg]
    effective_at: datetime | None = None
    metadata: dict[str, Any] | None = None
    not_before: datetime | None = None
    """When what it undoes takes effect: without a time of its own it takes effect when it is posted, but not before."""
    returns: list[PaymentReturn] = field(default_factory=list)
    """What it takes back of a payment, by destination."""
    approves: int | None = None
    """The proposal that posting it approves."""

    @property
    def account_ids(self) -> list[str]:
        """The accounts that move, in the order in which their rows are locked."""
        return sorted(leg.account_id for leg in self.legs)


def journal_order(request: JournalRequest, actor: str) -> Order:
    """The order of a journal. Its time counts in milliseconds, as it is answered."""
    as_sent = _journal_order_at(request, request.effective_at, actor)
    if request.effective_at is None:
        return as_sent
    order = _journal_order_at(request, cut_to_milliseconds(request.effective_at), actor)
    return replace(order, former_fingerprints=(as_sent.fingerprint,))


def _journal_order_at(request: JournalRequest, effective_at: datetime | None, actor: str) -> Order:
    content = (
        dumps([[line.account_id, line.is_debit, line.amount_minor] for line in request.lines]),
        request.reason,
        effective_at.isoformat() if effective_at else "",
        dumps(request.metadata, sort_keys=True, separators=(",", ":")) if request.metadata else "",
        request.payment_id or "",
    )
    order = order_of(Kind.JOURNAL, request.external_id, content, actor, request.reason, request.payment_id)
    return replace(order, gives_back=request.payment_id)


def reversal_order(journal_id: str, external_id: str, reason: str, actor: str, gives_back: str | None = None) -> Order:
    """The order of a reversal; `gives_back` is the payment that the journal has given back."""
    order = order_of(Kind.REVERSAL, external_id, (journal_id, reason), actor, reason, journal_id)
    return replace(order, gives_back=gives_back)


def order_of(
    kind: Kind, external_id: str, content: Sequence[str], actor: str, reason: str | None, relates_to: str | None
) -> Order:
    """An order, with the fingerprint of its kind and `content`: the fields of its kind, as text."""
    values = [kind.value, *content]
    values += [""] * (9 - len(values))
    return Order(kind, external_id, digest_of(values), actor, reason, relates_to)


def is_repeat(order: Order, posted: LedgerTransaction) -> bool:
    """Whether the ledger's transaction under the order's external id is what the order asks for."""
    return posted.fingerprint == order.fingerprint or posted.fingerprint in order.former_fingerprints


def refuse_reused_by(order: Order, first_fingerprint: str) -> Refusal:
    """The refusal of an external id that belongs to something else; names the field that differs."""
    name = differing_field(order.fingerprint, first_fingerprint, _FIELDS[order.kind])
    return external_id_reused(order.external_id, name, used_for="something else")


# From an order to a draft


def refuse_journal_ids(request: JournalRequest, facts: Mapping[str, AccountFacts]) -> Refusal | None:
    """Refuse invalid identifiers, and an account that is listed twice."""
    if refusal := refuse_id("external_id", request.external_id):
        return refusal
    seen: set[str] = set()
    for account_id in request.account_ids:
        # An account that exists has a valid id, or had one when it was created.
        if account_id not in facts and (refusal := refuse_id("account_id", account_id)):
            return refusal
        if account_id in seen:
            return account_listed_twice(account_id)
        seen.add(account_id)
    return None


def draft_journal(request: JournalRequest, order: Order, facts: Mapping[str, AccountFacts]) -> Draft | Refusal:
    """Check a journal against the accounts' facts."""
    legs = request.legs
    refusal = refuse_accounts(legs, facts)
    if refusal is None:
        refusal = next((found for line in request.lines if (found := refuse_amount(line.amount_minor))), None)
    refusal = refusal or _check_balanced(legs, facts)
    if refusal is not None:
        return refusal
    effective_at = None if request.effective_at is None else cut_to_milliseconds(request.effective_at)
    return Draft(order, facts[legs[0].account_id].entity_id, legs, effective_at, request.metadata)


def refuse_accounts(legs: Sequence[Leg], facts: Mapping[str, AccountFacts]) -> Refusal | None:
    """Refuse accounts that do not exist, are barred for their side, or belong to different entities."""
    if refusal := refuse_unknown([leg.account_id for leg in legs], facts):
        return refusal
    for leg in legs:
        account = facts[leg.account_id]
        if account.bars_debits if leg.amount_minor > 0 else account.bars_credits:
            return refuse_barred(account, is_debit=leg.amount_minor > 0)
    first = facts[legs[0].account_id]
    for leg in legs:
        account = facts[leg.account_id]
        if account.entity_id != first.entity_id:
            return entity_mismatch(
                account_id=account.account_id, entity_id=account.entity_id, first_entity_id=first.entity_id
            )
    return None


def _check_balanced(legs: Sequence[Leg], facts: Mapping[str, AccountFacts]) -> Refusal | None:
    differences: dict[str, int] = {}
    for leg in legs:
        currency = facts[leg.account_id].currency_code
        differences[currency] = differences.get(currency, 0) + leg.amount_minor
    for currency, difference in differences.items():
        if difference:
            return journal_unbalanced(currency, difference)
    return None


def draft_reversal(
    order: Order,
    original: LedgerTransaction,
    facts: Mapping[str, AccountFacts],
    returns: Sequence[PaymentReturn] = (),
) -> Draft | Refusal:
    """The opposite of every entry of a journal; `returns` are what it gives to a payment's destinations again."""
    legs = [Leg(entry.account_id, -entry.amount_minor) for entry in original.entries]
    draft = Draft(order, original.entity_id, legs, not_before=original.effective_at, returns=list(returns))
    return refuse_accounts(legs, facts) or draft


# From a draft to its holds


def hold_intents(draft: Draft, facts: Mapping[str, AccountFacts], attempt: str) -> list[Intent]:
    """The intents that hold a draft's funds while it is posted: one for each guarded leg, unique to this `attempt`.

    The first carries all legs, so recovery after a kill knows every account that may need settling. If no leg is
    guarded, there is still one intent; it holds nothing.
    """
    guarded = [leg for leg in draft.legs if _is_guarded(leg, facts[leg.account_id])]
    intents = [_hold(draft, leg, facts, attempt, abs(leg.amount_minor)) for leg in guarded]
    if not intents:
        intents = [_hold(draft, draft.legs[0], facts, attempt, 0)]
    intents[0].legs = draft.legs
    return intents


def _is_guarded(leg: Leg, account: AccountFacts) -> bool:
    return account.guards_debits if leg.amount_minor > 0 else account.guards_credits


def _hold(draft: Draft, leg: Leg, facts: Mapping[str, AccountFacts], attempt: str, hold_minor: int) -> Intent:
    return Intent(
        entity_id=draft.entity_id,
        external_id=HOLD_SEPARATOR.join((draft.order.external_id, leg.account_id, attempt)),
        fingerprint=draft.order.fingerprint,
        guarded_account_id=leg.account_id,
        hold_minor=hold_minor,
        currency_code=facts[leg.account_id].currency_code,
        legs=[leg],
        actor=draft.order.actor,
        kind=Kind.JOURNAL_HOLD,
    )


# Posting


def plan_journal(
    draft: Draft, balances: dict[str, LedgerBalance], head: ChainHead, posted_at: datetime
) -> PostingPlan | Refusal:
    """Decide a draft over the rows that its transaction has locked; `balances` are advanced."""
    for leg in draft.legs:
        if refusal := refuse_leg(leg, balances.get(leg.account_id), draft.entity_id):
            return refusal
    planner = Planner(balances, {head.partition: head}, posted_at)
    planner.append(_facts_of(draft, head, posted_at), draft.legs)
    planner.plan.returns = [(head.partition, head.chain_seq + 1, one) for one in draft.returns]
    balances.update(planner.plan.balances)
    return planner.plan


def _facts_of(draft: Draft, head: ChainHead, posted_at: datetime) -> TransactionFacts:
    """The transaction that a draft becomes. It is accepted when it is posted."""
    order, posted_at_us = draft.order, to_microseconds(posted_at)
    effective_at = draft.effective_at or max(posted_at, draft.not_before or posted_at)
    return (
        head.partition,
        head.chain_seq + 1,
        draft.entity_id,
        order.external_id,
        order.kind.value,
        f"{_ID_PREFIX[order.kind]}_{head.chain_seq + 1}",
        order.relates_to,
        order.fingerprint,
        order.actor,
        order.reason,
        None if draft.metadata is None else canonical_json(draft.metadata),
        posted_at_us,
        to_microseconds(effective_at),
        posted_at_us,
    )
