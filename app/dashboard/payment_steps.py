"""The steps of a payment's timeline: when, what, and what it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from flask import url_for
from markupsafe import Markup

from app.dashboard.context import here
from app.dashboard.formats import money
from app.dashboard.people import name_of
from app.domain.accounts import AccountFacts, normal_sign
from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.errors import Fault
from app.domain.hash_chain import LedgerTransaction
from app.domain.journal_proposals import JournalProposal
from app.domain.journals import JOURNAL_KINDS
from app.domain.proof_history import Standing
from app.domain.timestamps import parse_time
from app.domain.wording import counted

Packet = Mapping[str, Any]

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
    """One step: when, what, and what it rests on. `facts` are shown, `more` are folded under `more_title`."""

    at: datetime | None
    title: str
    text: str
    state: str = "ok"
    facts: Mapping[str, str] = field(default_factory=dict)
    entries: Sequence[EntryLine] = ()
    related: Sequence[LedgerTransaction] = ()
    more_title: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    anchor: str = ""
    run_id: int | None = None
    """The reconciliation that it speaks of."""


def asked(at: datetime, actor: str, kind: str, packet: Packet | None) -> Step:
    """Who asked for it, from where."""
    facts = {"Actor": actor}
    calls = [] if packet is None else packet["source"]["calls"]
    if calls:
        first = calls[0]
        told = {"Request": first["request_id"], "From": first["ip"], "Route": _route(first)}
        facts |= {name: value for name, value in told.items() if value}
    text = f"{kind.capitalize()}; the audit has the request." if calls else f"{kind.capitalize()}."
    return Step(at, f"Asked for by {name_of(actor)}", text, facts=facts)


def once_asked(actor: str) -> Step:
    """Who asked for a payment that the ledger rejected; when is not known any more."""
    return Step(None, "Acknowledged as pending", f"Asked for by {name_of(actor) or 'nobody known'}.", "none")


def approved(at: datetime, proposal: JournalProposal, packet: Packet | None) -> list[Step]:
    """The two people behind a journal."""
    entered = asked(proposal.entered_at, proposal.entered_by, "entered", None)
    who, number = name_of(proposal.decided_by or ""), {"Proposal": str(proposal.proposal_id)}
    return [
        replace(entered, title=f"Entered by {name_of(proposal.entered_by)}", text=f"“{proposal.content.reason}”"),
        replace(
            asked(at, proposal.decided_by or "", "journal", packet),
            title=f"Approved by {who}",
            text="Another person than the one who entered it. The approval and the journal are one transaction.",
            more_title="Where it was entered",
            more=number,
        ),
    ]


def _route(call: Mapping[str, Any]) -> str | None:
    return f"{call['method']} {call['path'] or call['route']}" if call["method"] else call["path"]


def controls(at: datetime, one: LedgerTransaction, packet: Packet | None) -> Step:
    """What was checked before it was accepted, with the figures."""
    text = "The first request with this external id; the accounts were open"
    if one.kind in JOURNAL_KINDS:
        text += ", and debits equal credits in each currency"
    facts = {}
    if packet is not None:
        codes = {entry.account_id: entry.currency_code for entry in one.entries}
        floors = {limit["account_id"]: limit["floor_minor"] for limit in packet["controls"]["limits"]}
        for fallen in packet["controls"]["funds"]:
            facts[fallen["account_id"]] = _fallen(fallen, codes[fallen["account_id"]], floors)
    text += "; the funds sufficed." if facts else "."
    if packet is not None and packet["controls"]["idempotency"]["repeats"]:
        repeats = packet["controls"]["idempotency"]["repeats"]
        facts["Repeats"] = f"{counted(len(repeats), 'later request')} got the same answer; nothing moved twice"
    fingerprint = {"Fingerprint of the request": one.fingerprint}
    return Step(at, "Controls passed", text, facts=facts, more_title="What a repeat is recognised by", more=fingerprint)


def _fallen(fallen: Mapping[str, Any], code: str, floors: Mapping[str, int | None]) -> str:
    floor = floors.get(fallen["account_id"])
    before, after = money(fallen["balance_before_minor"], code), money(fallen["balance_minor"], code)
    limit = "no floor" if floor is None else f"floor {money(floor, code)} now"
    return f"{before} → {after} {code}, {limit}"


def acknowledged(at: datetime, packet: Packet | None) -> list[Step]:
    """The place in the outbox, for what passed through it."""
    place = None if packet is None else packet["controls"]["outbox"]
    if place is None:
        return []
    text = "The funds were held and the intent to post was written in one step."
    facts = {"Outbox position": f"{place['stream_id']}, partition {place['partition']}"}
    return [Step(at, "Acknowledged as pending", text, facts=facts)]


def posted(one: LedgerTransaction) -> Step:
    """The entries."""
    facts = {"Ledger transaction": f"{one.partition}/{one.chain_seq}"}
    if one.effective_at != one.accepted_at:
        facts["Takes effect"] = f"{one.effective_at:%Y-%m-%d %H:%M:%S} UTC"
    text = f"{counted(len(one.entries), 'entry', 'entries')} in one transaction; debits equal credits."
    return Step(one.posted_at, "Posted to the ledger", text, facts=facts, entries=_lines(one))


def sealed(one: LedgerTransaction, packet: Packet | None, why_not: str) -> Step:
    """The place in the hash chain, and the signed head that covers it."""
    place = f"Transaction {one.chain_seq:,} of chain {one.partition}. Whoever changes it changes every hash after it"
    if packet is None or packet["chain"] is None:
        text = f"{place}. The proof cannot be made at the moment: {why_not}"
        return Step(one.posted_at, "Sealed in the chain", text, "attention", anchor="chain")
    chain, head = packet["chain"], packet["chain"]["head"]
    lead = counted(len(chain["inclusion"]["hashes"]), "hash leads", "hashes lead")
    way = f"{lead} from it to the head" if chain["inclusion"]["hashes"] else "It alone is what the head says"
    text = f"{place}, and the signed head no longer fits. {way}, signed {_told(head['signed_at'])}."
    hashes = {
        "Predecessor": chain["previous_hash"],
        "This transaction": chain["hash"],
        f"Head {head['partition']}/{head['chain_seq']}": head["chain_hash"],
        "Root of the tree": head["merkle_root"],
        "Signed with key": head["key_id"],
    }
    more = "Hashes and signature"
    return Step(one.posted_at, "Sealed in the chain", text, more_title=more, more=hashes, anchor="chain")


def authorized(one: Authorization, packet: Packet | None) -> list[Step]:
    """The steps of an authorization up to its end."""
    code = one.currency_code
    held = f"{money(one.hold_minor, code)} {code} are held on {one.guarded_account_id}" if one.hold_minor else "Held"
    first = asked(one.accepted_at, one.actor, "authorization", packet)
    expires = {"Expires": f"{one.expires_at:%Y-%m-%d %H:%M:%S} UTC"}
    steps = [first, Step(one.accepted_at, "Authorized", f"{held} until captured, voided or expired.", facts=expires)]
    if one.state is AuthorizationState.AUTHORIZED:
        steps.append(Step(None, "To be captured", "The funds stay held until then.", "pending"))
    elif one.state is AuthorizationState.CAPTURED:
        amount = f"{money(one.captured_minor or 0, code)} {code} of {money(one.amount_minor, code)} were captured."
        steps.append(Step(one.concluded_at, "Captured", amount))
    else:
        text = "The funds were released; nothing was moved."
        steps.append(Step(one.concluded_at, one.state.value.capitalize(), text, "none"))
    return steps


def given_back(one: LedgerTransaction) -> list[Step]:
    """What later transactions say of it."""
    related = [
        found
        for kind in ("refund", "journal", "reversal")
        for found in here().register.related(one.payment_id, kind, limit=RELATED)
    ]
    if not related:
        return []
    title = "Given back" if one.kind in ("payment", "capture") else "Undone"
    count = counted(len(related), "later transaction")
    text = f"{count} {'names' if len(related) == 1 else 'name'} this one."
    return [Step(related[0].posted_at, title, text, "none", related=related)]


def proved(posted_at: datetime, standing: Standing, packet: Packet | None) -> Step:
    """Which reconciliation has covered it."""
    last = standing.last
    runs = [] if packet is None or packet["reconciliation"] is None else packet["reconciliation"]["runs"]
    if not runs and (last is None or last.started_at < posted_at):
        return Step(None, "To be proved", "The next reconciliation covers it.", "pending")
    number = runs[0]["run_id"] if runs else last.run_id if last else 0
    at = parse_time(runs[0]["finished_at"]) if runs else last.finished_at if last else None
    facts = {"Last full run" if run["mode"] == "full" else "First run": _run(run) for run in runs}
    if standing.ledger_breaks:
        text = "covered it, but breaks of the ledger are open; see the overview."
        return Step(at, "Reconciled with breaks", text, "wrong", facts=facts, run_id=number or None)
    if standing.cache_breaks:
        text = f"covered it: the chain is whole. In the cache, {counted(standing.cache_breaks, 'difference')} "
        text += f"{'is' if standing.cache_breaks == 1 else 'are'} open; see Reconciliation."
        return Step(at, "Reconciled, the cache differs", text, "attention", facts=facts, run_id=number or None)
    text = "covered it: the chain is whole, and cache and ledger agree."
    return Step(at, "Reconciled", text, facts=facts, run_id=number or None)


def _run(run: Mapping[str, Any]) -> str:
    found = counted(run["break_count"], "break") if run["break_count"] else "no break"
    address = url_for("reconciliation.run", run_id=run["run_id"])
    return Markup('<a href="{}">run {}</a>, ended {}, {}').format(
        address, run["run_id"], _told(run["finished_at"]), found
    )


def _told(moment: str) -> str:
    """A time of a packet as the pages write times."""
    return moment.replace("T", " ").replace("Z", " UTC")


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
