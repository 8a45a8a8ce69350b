"""One payment, journal or refund as a timeline: each step with its time, and what it rests on; and its evidence."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, abort, render_template, request

from app.dashboard import payment_steps as step
from app.dashboard.context import here
from app.dashboard.evidence_checks import checks
from app.dashboard.formats import money
from app.dashboard.frame import standing_now
from app.dashboard.payment_steps import Packet, Step
from app.dashboard.refusal_texts import told
from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.errors import Fault
from app.domain.hash_chain import LedgerTransaction
from app.domain.journals import JOURNAL_KINDS
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Leg
from app.domain.read_models import RejectedPayment
from app.domain.timestamps import from_milliseconds, to_milliseconds

pages = Blueprint("payment", __name__)


@dataclass(slots=True, frozen=True)
class Story:
    """A payment as the page tells it. `state` is a word, `mark` what its colour means."""

    title: str
    state: str
    mark: str
    at: datetime
    payment_id: str
    kind: str
    external_id: str
    entity_id: str
    description: str | None
    transaction_id: str | None
    steps: list[Step]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    relates_to: str | None = None


@pages.get("/payments/<payment_id>")
def page(payment_id: str) -> str:
    """The timeline; with `verify` it is checked now."""
    packet, why_not = _packet(payment_id)
    story = _story(payment_id, packet, why_not)
    if story is None:
        abort(404)
    return render_template(
        "payment.html",
        payment_id=payment_id,
        story=story,
        has_packet=packet is not None,
        checks=checks(packet) if packet is not None and "verify" in request.args else None,
    )


@pages.get("/payments/<payment_id>/evidence.json")
def evidence(payment_id: str) -> Response:
    """The evidence packet as a file, for an auditor who checks it without Holdfast."""
    packet = here().api.evidence.of_any(payment_id)
    if packet is None:
        abort(404)
    response = Response(json.dumps(packet, ensure_ascii=False, indent=1), mimetype="application/json")
    name = "".join(one if one.isascii() and one.isalnum() else "-" for one in payment_id)
    response.headers["Content-Disposition"] = f'attachment; filename="evidence-{name}.json"'
    return response


def _packet(payment_id: str) -> tuple[Packet | None, str]:
    """The evidence packet; None with the reason if it cannot be made now."""
    try:
        return here().api.evidence.of_any(payment_id), ""
    except Fault as fault:
        return None, str(fault)


def _story(payment_id: str, packet: Packet | None, why_not: str) -> Story | None:
    transaction = here().register.get(payment_id)
    if transaction is not None:
        return _of_transaction(transaction, packet, why_not)
    found = here().api.finder.find(payment_id)
    if isinstance(found, QueuedIntent):
        return _of_pending(found, packet)
    if isinstance(found, Authorization):
        return _of_authorization(found, packet)
    if isinstance(found, RejectedPayment):
        return _of_rejected(found)
    if found is not None:  # a repeat of a payment that was posted under another id
        original = here().register.get(found.payment_id)
        return None if original is None else _of_transaction(original, packet, why_not)
    return None


# What happened


def _of_transaction(one: LedgerTransaction, packet: Packet | None, why_not: str) -> Story:
    posted = here().api.history.posted(one.payment_id) if one.kind == "capture" else None
    authorization = None if posted is None else posted.authorization
    if authorization is not None:
        steps = step.authorized(authorization, packet)
    else:
        proposal = here().api.approval.ledger.by_journals([one.payment_id]).get(one.payment_id)
        first = [step.asked(one.accepted_at, one.actor, one.kind, packet)]
        steps = first if proposal is None else step.approved(one.accepted_at, proposal, packet)
        steps += [step.controls(one.accepted_at, one, packet), *step.acknowledged(one.accepted_at, packet)]
    steps += [step.posted(one), step.sealed(one, packet, why_not), *step.given_back(one)]
    steps.append(step.proved(one.posted_at, standing_now(), packet))
    return Story(
        title=_title(one.kind, [Leg(entry.account_id, entry.amount_minor) for entry in one.entries], _codes(one)),
        state="posted",
        mark="ok",
        at=one.posted_at,
        payment_id=one.payment_id,
        kind=one.kind,
        external_id=one.external_id,
        entity_id=one.entity_id,
        description=one.description,
        transaction_id=f"{one.partition}/{one.chain_seq}",
        steps=steps,
        metadata=one.metadata or {},
        relates_to=one.relates_to,
    )


def _of_pending(one: QueuedIntent, packet: Packet | None) -> Story:
    intent = one.intent
    accepted_at = from_milliseconds(one.outbox_position.accepted_at_ms(to_milliseconds(here().now())))
    held = ""
    if intent.hold_minor:
        amount = money(intent.hold_minor, intent.currency_code)
        held = f" {amount} {intent.currency_code} are held on {intent.guarded_account_id}."
    text = f"The intent to post it waits in the outbox.{held}"
    facts = {"Outbox position": f"{one.outbox_position.stream_id}, partition {one.outbox_position.partition}"}
    waiting = Step(None, "To be posted", "A drain posts it next; nothing else has to be done.", "pending")
    return Story(
        title=_title(intent.kind, intent.legs, {intent.currency_code}),
        state="pending",
        mark="pending",
        at=accepted_at,
        payment_id=one.payment_id,
        kind=str(intent.kind),
        external_id=intent.external_id,
        entity_id=intent.entity_id,
        description=intent.description,
        transaction_id=None,
        steps=[step.asked(accepted_at, intent.actor, intent.kind, packet),
               Step(accepted_at, "Acknowledged as pending", text, facts=facts), waiting],
        metadata=intent.metadata or {},
    )  # fmt: skip


def _of_authorization(one: Authorization, packet: Packet | None) -> Story:
    is_open = one.state is AuthorizationState.AUTHORIZED
    return Story(
        title=_title("authorization", one.legs, {one.currency_code}),
        state=one.state.value,
        mark="pending" if is_open else "none",
        at=one.concluded_at or one.accepted_at,
        payment_id=one.payment_id,
        kind="authorization",
        external_id=one.external_id,
        entity_id=one.entity_id,
        description=one.description,
        transaction_id=None,
        steps=step.authorized(one, packet),
        metadata=one.metadata or {},
    )


def _of_rejected(one: RejectedPayment) -> Story:
    legs = [Leg(leg["account_id"], leg["amount_minor"]) for leg in one.intent["legs"]]
    code = one.intent["currency_code"]
    shown = told(one.refusal, code)
    text = shown.sentence if shown.figures else f"{shown.sentence} Nothing was moved."
    refused = Step(one.rejected_at, "Rejected by the ledger", text, "wrong",
                   facts={"Code": shown.code, **shown.figures})  # fmt: skip
    return Story(
        title=_title("payment", legs, {code}),
        state="rejected",
        mark="wrong",
        at=one.rejected_at,
        payment_id=one.payment_id,
        kind="payment",
        external_id=one.external_id,
        entity_id=one.entity_id,
        description=one.intent.get("description"),
        transaction_id=None,
        steps=[step.once_asked(one.intent.get("actor", "")), refused],
        metadata=one.intent.get("metadata") or {},
    )


# Words


def _codes(one: LedgerTransaction) -> set[str]:
    return {entry.currency_code for entry in one.entries}


def _title(kind: str, legs: Sequence[Leg], codes: Iterable[str]) -> str:
    """What moves, from where to where. Of a journal, which side is where: money may go either way between them."""
    known = list(codes)
    debited = [leg for leg in legs if leg.amount_minor > 0]
    credited = [leg for leg in legs if leg.amount_minor < 0]
    if len(known) != 1 or not debited or not credited:
        return f"{kind.capitalize()} of {len(legs)} legs"
    amount = f"{money(sum(leg.amount_minor for leg in debited), known[0])} {known[0]}"
    if kind in JOURNAL_KINDS:
        return f"{amount}: debit {_names(debited)}, credit {_names(credited)}"
    return f"{amount} from {_names(debited)} to {_names(credited)}"


def _names(legs: Sequence[Leg]) -> str:
    return legs[0].account_id if len(legs) == 1 else f"{len(legs)} accounts"
