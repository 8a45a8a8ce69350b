"""API keys for people with the role admin: list, make, rotate and revoke them.

The ledger itself checks who may, by a proof that only the password makes. So each form asks for the password again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import TYPE_CHECKING

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from app.api.fields import number_of
from app.dashboard.context import here
from app.dashboard.formats import read_moment
from app.dashboard.frame import needs, person
from app.dashboard.refusal_texts import Told, told
from app.domain.api_keys import NewKey, PresentedPerson
from app.domain.payment_checks import refuse_id
from app.domain.rate_limits import LARGEST_BURST, MOST_PER_SECOND, RateLimit
from app.domain.refusals import Refusal
from app.domain.users import Role
from app.services.access.api_keys import BUNDLES, Scope
from app.services.access.key_administration import DEFAULT_OVERLAP_H, LONGEST_OVERLAP_H, IssuedKey

if TYPE_CHECKING:
    from app.ledger.api_keys import StoredKey

pages = Blueprint("keys", __name__)

Page = str | Response | tuple[str, int]

LISTED = 200
LONGEST_NAME = 200

SCOPES = {
    Scope.READ: "Read accounts, payments, reports and events",
    Scope.ACCOUNTS_READ: "Read accounts, balances, entries and journals",
    Scope.PAYMENTS_READ: "Read payments, refunds and evidence",
    Scope.REPORTS_READ: "Read reports and signed heads",
    Scope.EVENTS_READ: "Read the events",
    Scope.AUDIT_READ: "Read the audit: what other keys have asked",
    Scope.PAYMENTS_WRITE: "Make, capture, void and refund payments",
    Scope.ACCOUNTS_WRITE: "Open and change accounts, and post journals",
    Scope.JOURNALS_WRITE: "Post and reverse journals",
    Scope.WEBHOOKS_WRITE: "Look after webhooks",
    Scope.ADMIN: "Everything, keys included",
}


@dataclass(slots=True)
class KeyForm:
    """A new key as typed."""

    name: str = ""
    scopes: list[str] = field(default_factory=list)
    entities: str = ""
    expires: str = ""
    rate: str = ""
    burst: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    def read(self, now: datetime) -> NewKey | None:
        """The key; None with `errors` if it cannot be made so."""
        if not 0 < len(self.name) <= LONGEST_NAME:
            self.errors["name"] = "Name the program or the team that uses it."
        if not self.scopes or not set(self.scopes) <= set(Scope):
            self.errors["scopes"] = "Choose what it may do."
        entities = sorted({*self.entities.replace(",", " ").split()})
        if any(refuse_id("entities", one) for one in entities):
            self.errors["entities"] = "This is no list of entities."
        expires_at, limit = self._expiry(now), self._limit()
        if self.errors:
            return None
        return NewKey(self.name, sorted(set(self.scopes)), entities or None, expires_at, limit)

    def _expiry(self, now: datetime) -> datetime | None:
        if not self.expires:
            return None
        try:
            at = read_moment(self.expires, is_end=True)
        except ValueError as error:
            self.errors["expires"] = str(error)
            return None
        if at <= now:
            self.errors["expires"] = "It must end in the future."
        return at

    def _limit(self) -> RateLimit | None:
        if not self.rate and not self.burst:
            return None
        if not (_within(self.rate, MOST_PER_SECOND) and _within(self.burst or self.rate, LARGEST_BURST)):
            self.errors["rate"] = f"At most {MOST_PER_SECOND:,} a second, and {LARGEST_BURST:,} at once; at least 1."
            return None
        return RateLimit(int(self.rate), int(self.burst or self.rate))


def _within(text: str, most: int) -> bool:
    return 1 <= (number_of(text, 8) or 0) <= most


# Reading


@pages.get("/keys")
@needs(Role.ADMIN)
def page() -> str:
    """All keys, the active ones first."""
    after = request.args.get("after") or None
    found = here().api.keys.page(limit=LISTED + 1, after=after, entities=None)
    listed = sorted(found[:LISTED], key=lambda one: (one.status != "active", -one.created_at.timestamp()))
    return render_template(
        "keys.html", keys=listed, after=after, next_after=found[LISTED - 1].key_id if len(found) > LISTED else None
    )


@pages.get("/keys/<key_id>")
@needs(Role.ADMIN)
def one(key_id: str) -> str:
    """One key, with the forms to rotate and to revoke it."""
    return _shown(_key(key_id))


def _key(key_id: str) -> StoredKey:
    found = here().api.keys.get(key_id, None)
    return abort(404) if isinstance(found, Refusal) else found


def _shown(key: StoredKey, refusal: Told | None = None) -> str:
    return render_template(
        "key.html",
        key=key,
        refusal=refusal,
        overlap=request.form.get("overlap", DEFAULT_OVERLAP_H),
        once=_new_once(),
        person=person(),
    )


# Making


@pages.get("/keys/new")
@needs(Role.ADMIN)
def blank() -> str:
    """The form of a new key."""
    return _form(KeyForm())


@pages.post("/keys/new")
@needs(Role.ADMIN)
def make() -> Page:
    """Make a key, and show it once."""
    form = KeyForm(
        name=_typed("name"),
        scopes=request.form.getlist("scopes"),
        entities=_typed("entities"),
        expires=_typed("expires"),
        rate=_typed("rate"),
        burst=_typed("burst"),
    )
    wanted = form.read(here().now())
    if wanted is None:
        return _form(form), 422
    by = _proven()
    if isinstance(by, Told):
        return _form(form, by), 422
    made = here().api.keys.create(wanted, by)
    return (_form(form, told(made)), 422) if isinstance(made, Refusal) else _issued(made)


def _typed(name: str) -> str:
    return request.form.get(name, "").strip()


def _form(form: KeyForm, refusal: Told | None = None) -> str:
    return render_template(
        "key_form.html",
        form=form,
        refusal=refusal,
        scopes=SCOPES,
        bundles={name: sorted(scopes - {name}) for name, scopes in BUNDLES.items()},
        known=here().entities(),
        once=_new_once(),
        person=person(),
    )


def _issued(made: IssuedKey, former: StoredKey | None = None) -> str:
    return render_template("key_issued.html", key=made.key, stored=made.stored, former=former)


# Ending


@pages.post("/keys/<key_id>")
@needs(Role.ADMIN)
def change(key_id: str) -> Page:
    """Rotate a key, or revoke it."""
    key = _key(key_id)
    wish, hours = request.form.get("do"), number_of(request.form.get("overlap", ""), 8)
    overlap = -1 if hours is None else hours
    if wish == "rotate" and not 0 <= overlap <= LONGEST_OVERLAP_H:
        return _shown(key, Told(f"It may stay valid for 0 to {LONGEST_OVERLAP_H} hours.", "")), 422
    by = _proven()
    if isinstance(by, Told):
        return _shown(key, by), 422
    if wish == "rotate":
        made = here().api.keys.rotate(key_id, timedelta(hours=overlap), by)
        return (_shown(key, told(made)), 422) if isinstance(made, Refusal) else _issued(made, _key(key_id))
    if wish != "revoke":
        abort(400)
    ended = here().api.keys.revoke(key_id, by)
    if isinstance(ended, Refusal):
        return _shown(key, told(ended)), 422
    flash(f"Key {key_id} is revoked, in every process within a second.")
    return redirect(url_for("keys.one", key_id=key_id), 303)


# Who asks


def _proven() -> PresentedPerson | Told:
    """The person with a proof for the ledger; why not, otherwise. A form counts once: it is not sent by a reload."""
    if not request.form.get("once") or request.form.get("once") != session.pop(ONCE, None):
        return Told("This form was sent before. Nothing was done now; look at the list first.", "")
    proven = here().sign_in.prove(person(), request.form.get("password", ""))
    if isinstance(proven, PresentedPerson):
        return proven
    if proven.next_try_at > here().now():
        return Told(f"The password is not right. The next try counts from {proven.next_try_at:%H:%M:%S} UTC.", "")
    return Told("The password is not right. Nothing was done.", "")


ONCE = "key_form"


def _new_once() -> str:
    session[ONCE] = token_hex(8)
    once: str = session[ONCE]
    return once
