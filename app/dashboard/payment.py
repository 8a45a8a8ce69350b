"""One payment, journal or refund as a timeline: each step with its time, and what it rests on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flask import Blueprint, abort, render_template

from app.dashboard.context import here
from app.dashboard.formats import money
from app.dashboard.frame import standing_now
from app.domain.accounts import AccountFacts, normal_sign
from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.errors import Fault
from app.domain.hash_chain import LedgerTransaction
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Leg
from app.domain.proof_history import Standing
from app.domain.read_models import RejectedPayment
from app.domain.timestamps import from_milliseconds, to_milliseconds

pages = Blueprint("payment", __name__)

RELATED = 50


@dataclass(slots=True, frozen=True)
class EntryLine:
    """One entry with the balances before and after it, in minor units."""

    account_id: str
    entry_number: int
    currency_code: str
    amount_minor: int
    before_minor: int | None
    after_minor: int


@dataclass(slots=True, frozen=True)
class Step:
    """One step: when, what, and what it rests on."""

    at: datetime | None
    title: str
    text: str
    state: str = "ok"
    facts: Mapping[str, str] = field(default_factory=dict)
    entries: Sequence[EntryLine] = ()
    related: Sequence[LedgerTransaction] = ()


@dataclass(slots=True, frozen=True)
class Story:
    """A payment as the page tells it. `state` is a word, `mark` what its colour means."""

    title: str
    state: str
    mark: str
    at: datetime
    external_id: str
    entity_id: str
    description: str | None
    transaction_id: str | None
    steps: list[Step]


@pages.get("/payments/<payment_id>")
def page(payment_id: str) -> str:
    """The timeline."""
    story = _story(payment_id)
    if story is None:
        abort(404)
    return render_template("payment.html", payment_id=payment_id, story=story)


def _story(payment_id: str) -> Story | None:
    transaction = here().register.get(payment_id)
    if transaction is not None:
        return _of_transaction(transaction)
    found = here().api.finder.find(payment_id)
    if isinstance(found, QueuedIntent):
        return _of_pending(found)
    if isinstance(found, Authorization):
        return _of_authorization(found)
    if isinstance(found, RejectedPayment):
        return _of_rejected(found)
    if found is not None:  # a repeat of a payment that was posted under another id
        original = here().register.get(found.payment_id)
        return None if original is None else _of_transaction(original)
    return None


# What happened


def _of_transaction(one: LedgerTransaction) -> Story:
    posted = here().api.history.posted(one.payment_id) if one.kind == "capture" else None
    authorization = None if posted is None else posted.authorization
    steps = [_asked(one.accepted_at, one.actor, one.kind)] if authorization is None else _authorized(authorization)
    facts = {"Ledger transaction": f"{one.partition}/{one.chain_seq}"}
    if one.effective_at != one.accepted_at:
        facts["Takes effect"] = f"{one.effective_at:%Y-%m-%d %H:%M:%S} UTC"
    text = f"{len(one.entries)} entries in one transaction; debits equal credits."
    steps.append(Step(one.posted_at, "Posted to the ledger", text, facts=facts, entries=_lines(one)))
    chain = f"Transaction {one.chain_seq:,} of chain {one.partition}. Whoever changes it changes every hash after it."
    steps.append(Step(one.posted_at, "Sealed in the chain", chain))
    steps += _given_back(one)
    steps.append(_proved(one.posted_at, standing_now()))
    return Story(
        title=_title(one.kind, [Leg(entry.account_id, entry.amount_minor) for entry in one.entries], _codes(one)),
        state="posted",
        mark="ok",
        at=one.posted_at,
        external_id=one.external_id,
        entity_id=one.entity_id,
        description=one.description,
        transaction_id=f"{one.partition}/{one.chain_seq}",
        steps=steps,
    )


def _of_pending(one: QueuedIntent) -> Story:
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
        external_id=intent.external_id,
        entity_id=intent.entity_id,
        description=intent.description,
        transaction_id=None,
        steps=[_asked(accepted_at, intent.actor, intent.kind),
               Step(accepted_at, "Acknowledged as pending", text, facts=facts), waiting],
    )  # fmt: skip


def _of_authorization(one: Authorization) -> Story:
    is_open = one.state is AuthorizationState.AUTHORIZED
    return Story(
        title=_title("authorization", one.legs, {one.currency_code}),
        state=one.state.value,
        mark="pending" if is_open else "none",
        at=one.concluded_at or one.accepted_at,
        external_id=one.external_id,
        entity_id=one.entity_id,
        description=one.description,
        transaction_id=None,
        steps=_authorized(one),
    )


def _of_rejected(one: RejectedPayment) -> Story:
    legs = [Leg(leg["account_id"], leg["amount_minor"]) for leg in one.intent["legs"]]
    code = one.intent["currency_code"]
    figures = {name.replace("_", " "): str(value) for name, value in one.refusal.figures.items()}
    refused = Step(one.rejected_at, "Rejected by the ledger", f"{one.refusal.detail} Nothing was moved.", "wrong",
                   facts={"Code": one.refusal.code.value, **figures})  # fmt: skip
    return Story(
        title=_title("payment", legs, {code}),
        state="rejected",
        mark="wrong",
        at=one.rejected_at,
        external_id=one.external_id,
        entity_id=one.entity_id,
        description=one.intent.get("description"),
        transaction_id=None,
        steps=[Step(None, "Acknowledged as pending", f"By {one.intent.get('actor', 'unknown')}.", "none"), refused],
    )


# Steps


def _asked(at: datetime, actor: str, kind: str) -> Step:
    return Step(at, "Asked for", f"{kind.capitalize()} by {actor}. It was accepted: the accounts were open and the "
                "funds sufficed.", facts={"Actor": actor})  # fmt: skip


def _authorized(one: Authorization) -> list[Step]:
    code = one.currency_code
    held = f"{money(one.hold_minor, code)} {code} are held on {one.guarded_account_id}" if one.hold_minor else "Held"
    steps = [Step(one.accepted_at, "Authorized", f"{held} until captured, voided or expired.",
                  facts={"Actor": one.actor, "Expires": f"{one.expires_at:%Y-%m-%d %H:%M:%S} UTC"})]  # fmt: skip
    if one.state is AuthorizationState.AUTHORIZED:
        steps.append(Step(None, "To be captured", "The funds stay held until then.", "pending"))
    elif one.state is AuthorizationState.CAPTURED:
        amount = f"{money(one.captured_minor or 0, code)} {code} of {money(one.amount_minor, code)} were captured."
        steps.append(Step(one.concluded_at, "Captured", amount))
    else:
        text = "The funds were released; nothing was moved."
        steps.append(Step(one.concluded_at, one.state.value.capitalize(), text, "none"))
    return steps


def _given_back(one: LedgerTransaction) -> list[Step]:
    related = [
        found
        for kind in ("refund", "journal", "reversal")
        for found in here().register.related(one.payment_id, kind, limit=RELATED)
    ]
    if not related:
        return []
    title = "Given back" if one.kind in ("payment", "capture") else "Undone"
    return [Step(related[0].posted_at, title, f"{len(related)} later transactions name this one.", "none",
                 related=related)]  # fmt: skip


def _proved(posted_at: datetime, standing: Standing) -> Step:
    last = standing.last
    if last is None or last.started_at < posted_at:
        return Step(None, "To be proved", "The next reconciliation covers it.", "pending")
    if standing.ledger_breaks:
        text = f"Run {last.run_id} covered it, but breaks of the ledger are open; see the overview."
        return Step(last.finished_at, "Reconciled with breaks", text, "wrong")
    text = f"Run {last.run_id} and those before it covered it: the chain is whole, and cache and ledger agree."
    return Step(last.finished_at, "Reconciled", text)


# Figures


def _lines(one: LedgerTransaction) -> list[EntryLine]:
    try:
        facts = here().api.directory.snapshot().facts([entry.account_id for entry in one.entries])
    except Fault:  # the cache is not safe or away: the balances before are left out
        facts = {}
    return [
        EntryLine(
            entry.account_id,
            entry.entry_number,
            entry.currency_code,
            entry.amount_minor,
            _before(facts.get(entry.account_id), entry.balance_minor, entry.amount_minor),
            entry.balance_minor,
        )
        for entry in one.entries
    ]


def _before(facts: AccountFacts | None, after_minor: int, amount_minor: int) -> int | None:
    return None if facts is None else after_minor - normal_sign(facts.type) * amount_minor


def _codes(one: LedgerTransaction) -> set[str]:
    return {entry.currency_code for entry in one.entries}


def _title(kind: str, legs: Sequence[Leg], codes: Iterable[str]) -> str:
    """One sentence: what moves, from where to where."""
    known = list(codes)
    debited = [leg for leg in legs if leg.amount_minor > 0]
    credited = [leg for leg in legs if leg.amount_minor < 0]
    if len(known) != 1 or not debited or not credited:
        return f"{kind.capitalize()} of {len(legs)} legs"
    amount = f"{money(sum(leg.amount_minor for leg in debited), known[0])} {known[0]}"
    return f"{amount} from {_names(debited)} to {_names(credited)}"


def _names(legs: Sequence[Leg]) -> str:
    return legs[0].account_id if len(legs) == 1 else f"{len(legs)} accounts"
