"""Journals: entering one after a dry run, approving what somebody else has entered, reversing, and templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.api.fields import number_of
from app.dashboard import journal_form
from app.dashboard.context import here
from app.dashboard.frame import actor, may, needs, person
from app.dashboard.journal_form import JournalForm, effects, sums
from app.dashboard.refusal_texts import Told, told
from app.dashboard.requests import Filters
from app.domain.hash_chain import LedgerTransaction
from app.domain.journal_proposals import (
    MAX_TEMPLATE_NAME,
    JournalProposal,
    JournalTemplate,
    ProposalState,
    needs_approval,
)
from app.domain.journals import JOURNAL_KINDS, JournalRequest, journal_order
from app.domain.refusals import Refusal
from app.domain.users import Role
from app.services.posting.journal_posting import PostedJournal

pages = Blueprint("journals", __name__)

Page = str | Response | tuple[str, int]

LISTED = 20
WAITING = 100
LATEST = 2**62


@dataclass(slots=True, frozen=True)
class Listed:
    """A journal in the list, with who entered it and what has reversed it."""

    journal: LedgerTransaction
    proposal: JournalProposal | None
    reversed_by: str | None


def needs_second_person() -> bool:
    """Whether what people enter waits for somebody else."""
    return needs_approval(here().api.approval.mode, actor())


# The list


@pages.get("/journals")
def page() -> str:
    """What waits, what was posted lately, and the templates."""
    filters = Filters()
    before = filters.number("before")
    found = here().register.latest(
        here().journal_chain, JOURNAL_KINDS, limit=LISTED + 1, before=LATEST if before is None else before
    )
    proposals = here().api.approval.ledger
    return render_template(
        "journals.html",
        waiting=proposals.page(limit=WAITING, before=None, is_waiting=True),
        decided=proposals.page(limit=LISTED, before=None, is_waiting=False),
        journals=_listed(found[:LISTED]),
        older=found[LISTED - 1].chain_seq if len(found) > LISTED else None,
        templates=here().templates.all(),
        needs_second=needs_second_person(),
        actor=actor(),
        sums=sums,
        filters=filters,
        ProposalState=ProposalState,
    )


def _listed(found: Sequence[LedgerTransaction]) -> list[Listed]:
    ids = [one.payment_id for one in found]
    proposals, reversals = here().api.approval.ledger.by_journals(ids), here().register.reversals_of(ids)
    return [Listed(one, proposals.get(one.payment_id), reversals.get(one.payment_id)) for one in found]


# Entering


@pages.get("/journals/new")
@needs(Role.ACCOUNTANT)
def blank() -> Page:
    """The form: empty, with the lines of a template, or with those of a proposal that was returned."""
    name, number = request.args.get("template"), request.args.get("proposal", "")
    if name:
        template = here().templates.get(name)
        return abort(404) if template is None else _form(journal_form.from_template(template), template=template)
    if number:
        return _form(journal_form.from_proposal(_proposal(number)))
    return _form(journal_form.blank())


@pages.post("/journals/new")
@needs(Role.ACCOUNTANT)
def enter() -> Page:
    """A leg more or less, a dry run, a template, or the journal itself."""
    form = journal_form.typed()
    if "add" in request.form:
        form.add_leg()
        form.read()
        return _form(_without_errors(form))
    if "remove" in request.form:
        form.remove_leg(request.form["remove"])
        form.read()
        return _form(_without_errors(form))
    if request.form.get("do") == "template":
        return _save_template(form)
    wanted = form.read()
    if wanted is None:
        return _form(form), 422
    checked = journal_order(wanted, actor()).fingerprint
    if request.form.get("do") == "submit" and request.form.get("checked") == checked:
        return _submit(form, wanted)
    tried = here().api.journals.post(wanted, actor(), dry_run=True)
    is_changed = request.form.get("do") == "submit"
    if isinstance(tried, Refusal):
        return _form(form, refusal=told(tried)), 422
    return _form(form, tried=tried, checked=checked, is_changed=is_changed)


def _without_errors(form: JournalForm) -> JournalForm:
    """A form that is still being filled in: what is missing is no error yet."""
    form.errors.clear()
    for leg in form.legs:
        leg.error = ""
    return form


def _submit(form: JournalForm, wanted: JournalRequest) -> Page:
    if not needs_second_person():
        posted = here().api.journals.post(wanted, actor())
        if isinstance(posted, Refusal):
            return _form(form, refusal=told(posted)), 422
        return redirect(url_for("payment.page", payment_id=posted.transaction.payment_id), 303)
    proposed = here().api.approval.propose(wanted, actor())
    if isinstance(proposed, Refusal):
        return _form(form, refusal=told(proposed)), 422
    return redirect(url_for("journals.proposal", number=proposed.proposal_id), 303)


def _form(
    form: JournalForm,
    *,
    tried: PostedJournal | None = None,
    checked: str = "",
    is_changed: bool = False,
    refusal: Told | None = None,
    template: JournalTemplate | None = None,
    template_error: str = "",
) -> str:
    return render_template(
        "journal_form.html",
        form=form,
        tried=tried,
        effects=[] if tried is None else effects(tried.transaction),
        checked=checked,
        is_changed=is_changed,
        refusal=refusal,
        template=template,
        template_error=template_error,
        templates=here().templates.all(),
        needs_second=needs_second_person(),
    )


# Templates


def _save_template(form: JournalForm) -> Page:
    name = request.form.get("template_name", "").strip()
    template = form.template(name)
    if not 0 < len(name) <= MAX_TEMPLATE_NAME:
        return _form(form, template_error="Give the template a name of up to 100 characters."), 422
    if any(leg.error and not leg.currency_code for leg in form.filled) or not template.lines:
        return _form(form, template_error="A template needs accounts that exist; amounts may be left empty."), 422
    here().templates.save(template, actor())
    flash(f"The template “{name}” is saved. It posts nothing by itself.")
    return redirect(url_for("journals.blank", template=name), 303)


@pages.post("/journals/templates")
@needs(Role.ACCOUNTANT)
def retire_template() -> Page:
    """Offer a template no more; its versions stay on record."""
    name = request.form.get("name", "")
    if here().templates.get(name) is None:
        abort(404)
    here().templates.save(JournalTemplate(name, [], ""), actor())
    flash(f"The template “{name}” is offered no more.")
    return redirect(url_for("journals.page", _anchor="templates"), 303)


# Deciding


@pages.get("/journals/proposals/<number>")
def proposal(number: str) -> str:
    """One proposal, and what approving it would do now."""
    return _shown(_proposal(number), None)


@pages.post("/journals/proposals/<number>")
@needs(Role.ACCOUNTANT)
def decide(number: str) -> Page:
    """Approve, return or withdraw."""
    proposal = _proposal(number)
    wish, reason = request.form.get("do"), request.form.get("reason", "").strip()
    outcome: PostedJournal | JournalProposal | Refusal
    if wish == "approve":
        outcome = _as_controller().approve(proposal.proposal_id, person())
    elif wish == "return" and not reason:
        return _shown(proposal, Told("Say what is wrong with it: the reason is kept.", "")), 422
    elif wish == "return":
        outcome = _as_controller().give_back(proposal.proposal_id, reason, person())
    elif wish == "withdraw":
        outcome = here().api.approval.withdraw(proposal.proposal_id, reason or None, actor())
    else:
        abort(400)
    if isinstance(outcome, Refusal):
        return _shown(_proposal(number), told(outcome)), 422
    return redirect(url_for("journals.proposal", number=number), 303)


def _as_controller() -> Any:
    if not may(Role.CONTROLLER):
        abort(403)
    return here().api.approval


def _proposal(text: str) -> JournalProposal:
    number = number_of(text)
    found = None if number is None else here().api.approval.ledger.get(number)
    return abort(404) if found is None else found


def _shown(proposal: JournalProposal, refusal: Told | None) -> str:
    tried = None
    if proposal.state is ProposalState.WAITING:
        tried = here().api.approval.try_again(proposal, actor())
    return render_template(
        "journal_proposal.html",
        proposal=proposal,
        wanted=proposal.content,
        refused_now=told(tried) if isinstance(tried, Refusal) else None,
        effects=effects(tried.transaction) if isinstance(tried, PostedJournal) else [],
        refusal=refusal,
        is_mine=proposal.entered_by == actor(),
        sums=sums,
        State=ProposalState,
    )


# Reversing


@pages.get("/journals/<journal_id>/reversal")
@needs(Role.ACCOUNTANT)
def reversal(journal_id: str) -> str:
    """The form that undoes a journal."""
    return _reversal(_journal(journal_id), journal_form.new_external_id("reversal"), "")


@pages.post("/journals/<journal_id>/reversal")
@needs(Role.ACCOUNTANT)
def reverse(journal_id: str) -> Page:
    """A dry run, or the reversal itself."""
    journal = _journal(journal_id)
    external_id, reason = (request.form.get(name, "").strip() for name in ("external_id", "reason"))
    if not reason or not external_id:
        missing = Told("Say why, and keep the external id: both stay with the reversal.", "")
        return _reversal(journal, external_id, reason, refusal=missing), 422
    checked = f"{external_id} {reason}"
    if request.form.get("do") == "submit" and request.form.get("checked") == checked:
        return _submit_reversal(journal, external_id, reason)
    tried = here().api.journals.reverse(journal_id, external_id, reason, actor(), dry_run=True)
    if isinstance(tried, Refusal):
        return _reversal(journal, external_id, reason, refusal=told(tried)), 422
    return _reversal(journal, external_id, reason, tried=tried, checked=checked)


def _submit_reversal(journal: LedgerTransaction, external_id: str, reason: str) -> Page:
    asked = (journal.payment_id, external_id, reason, actor())
    if not needs_second_person():
        posted = here().api.journals.reverse(*asked)
        if isinstance(posted, Refusal):
            return _reversal(journal, external_id, reason, refusal=told(posted)), 422
        return redirect(url_for("payment.page", payment_id=posted.transaction.payment_id), 303)
    proposed = here().api.approval.propose_reversal(*asked)
    if isinstance(proposed, Refusal):
        return _reversal(journal, external_id, reason, refusal=told(proposed)), 422
    return redirect(url_for("journals.proposal", number=proposed.proposal_id), 303)


def _journal(journal_id: str) -> LedgerTransaction:
    found = here().api.journals.find(journal_id)
    return abort(404) if found is None else found


def _reversal(
    journal: LedgerTransaction,
    external_id: str,
    reason: str,
    *,
    tried: PostedJournal | None = None,
    checked: str = "",
    refusal: Told | None = None,
) -> str:
    return render_template(
        "journal_reversal.html",
        journal=journal,
        external_id=external_id,
        reason=reason,
        tried=tried,
        effects=[] if tried is None else effects(tried.transaction),
        checked=checked,
        refusal=refusal,
        needs_second=needs_second_person(),
    )
