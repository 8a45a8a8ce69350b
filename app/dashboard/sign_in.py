"""Signing in and out, taking up an invitation, and what a person sees and sets of their own sign-in."""

from flask import Blueprint, abort, redirect, render_template, request, session, url_for
from segno import make_qr
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.frame import SESSION_COOKIE, give_session, local_path, person, public, signed_in
from app.domain.origin import current_origin
from app.domain.users import SignInMethod, User
from app.services.access.sign_in import NotSignedIn, SignedIn

pages = Blueprint("sign_in", __name__)

Page = str | Response | tuple[str, int]


def client() -> str:
    """What the browser calls itself."""
    return request.user_agent.string or "unknown"


@pages.get("/sign-in")
@public
def form() -> Page:
    """The form; somebody who is signed in goes on."""
    if signed_in() is not None:
        return redirect(local_path(request.args.get("next")), 303)
    return _form(None)


@pages.post("/sign-in")
@public
def sign_in() -> Page:
    """Try to sign in."""
    name = request.form.get("name", "").strip().lower()
    password, code = request.form.get("password", ""), request.form.get("totp", "")
    outcome = here().sign_in.by_password(name, password, code, client())
    if isinstance(outcome, NotSignedIn):
        if (origin := current_origin()) is not None:
            origin.actor = here().sign_in.actor_of(name)
        return _form(outcome), 401
    return enter(outcome, request.form.get("next"))


def _form(failed: NotSignedIn | None) -> str:
    came_for = local_path(request.values.get("next"))
    name = request.form.get("name", "")
    return render_template(
        "sign_in.html", failed=failed, next=came_for, name=name, organisation=here().organisation, message=None
    )


def enter(signed: SignedIn, came_for: str | None) -> Response:
    """Begin a session in this browser. It gets a new token and a new cookie of forms, and leaves any earlier ones."""
    former = request.cookies.get(SESSION_COOKIE)
    if former and (earlier := here().sign_in.session(former)) is not None:
        here().sign_in.sign_out(earlier)
    session.clear()
    return give_session(redirect(local_path(came_for), 303), signed.token)


@pages.post("/sign-out")
def sign_out() -> Response:
    """End this session, or all sessions of the person."""
    current = signed_in()
    assert current is not None
    if request.form.get("everywhere"):
        here().sign_in.sign_out_everywhere(current.user)
    else:
        here().sign_in.sign_out(current)
    session.clear()
    return give_session(redirect(url_for("sign_in.form"), 303), None)


# Invitations

NOT_INVITED = "This invitation was used, or has expired. Ask for a new one."


@pages.get("/invitation/<token>")
@public
def invitation(token: str) -> Page:
    """Where an invitation leads; reading it uses nothing up."""
    return render_template("invitation.html", invited=invited(token), refusal=None, organisation=here().organisation)


@pages.post("/invitation/<token>")
@public
def take_up(token: str) -> Page:
    """Set the password, and sign in with it."""
    user = invited(token)
    password = request.form.get("password", "")
    refusal = None if password == request.form.get("repeated") else "The two passwords differ."
    refusal = refusal or here().sign_in.set_password(user, password)
    if refusal is not None:
        page = render_template("invitation.html", invited=user, refusal=refusal, organisation=here().organisation)
        return page, 422
    outcome = here().sign_in.by_password(user.user_id, password, "", client())
    return enter(outcome, "/") if isinstance(outcome, SignedIn) else redirect(url_for("sign_in.form"), 303)


def invited(token: str) -> User:
    """The person whom an open invitation is for."""
    user = here().sign_in.invited(token)
    if user is None:
        abort(404, NOT_INVITED)
    return user


# The person's own sign-in

PENDING_SECRET = "second_factor"  # noqa: S105 - where it is kept in the cookie of forms


@pages.get("/me")
def me() -> Page:
    """Who one is here, the second factor, and where one is signed in."""
    return _me(None)


@pages.post("/me/second-factor")
def second_factor() -> Page:
    """Show a new secret, confirm it with a code, or end the second factor."""
    user, step = person(), request.form.get("step")
    if step == "begin":
        session[PENDING_SECRET] = here().sign_in.new_second_factor()
        return redirect(url_for("sign_in.me", _anchor="second-factor"), 303)
    if step == "confirm" and PENDING_SECRET in session:
        if not here().sign_in.begin_second_factor(user, session[PENDING_SECRET], request.form.get("totp", "")):
            return _me("This code does not belong to the secret. Check the clock of your telephone."), 422
        session.pop(PENDING_SECRET)
    elif step == "end" and not here().sign_in.end_second_factor(user, request.form.get("password", "")):
        return _me("The password is not right; the second factor stays."), 422
    return redirect(url_for("sign_in.me", _anchor="second-factor"), 303)


def _me(refusal: str | None) -> str:
    current = signed_in()
    assert current is not None
    secret = session.get(PENDING_SECRET)
    code = None if secret is None else _qr(here().sign_in.address_of(current.user, secret))
    return render_template(
        "me.html",
        current=current,
        sessions=here().sign_in.sessions(current.user),
        secret=secret,
        qr=code,
        refusal=refusal,
        by_password=current.method is SignInMethod.PASSWORD,
    )


def _qr(address: str) -> str:
    """The address as a picture that a telephone reads: one path of SVG."""
    return make_qr(address, error="m").svg_inline(omitsize=True, border=2, svgclass="qr", lineclass=None)
