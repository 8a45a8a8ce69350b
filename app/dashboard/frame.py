"""The frame of every page: who asks and whether they may, what the bar and the rail show, and the headers."""

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from time import monotonic_ns
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from flask import Blueprint, Flask, Response, abort, current_app, g, redirect, request, url_for
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response as AnyResponse

from app.api.client_address import FORWARDED_FOR
from app.api.request_ids import HEADER, request_id_from
from app.dashboard.context import here
from app.dashboard.navigation import NAVIGATION, PART_OF
from app.dashboard.recording import note_form, record
from app.dashboard.requests import asked_for
from app.domain.accounts import MAX_ID_LENGTH
from app.domain.origin import Origin, current_origin, set_origin
from app.domain.proof_history import Standing
from app.domain.timestamps import to_milliseconds
from app.domain.users import Role, Session, User

SESSION_COOKIE = "holdfast_session"
THEMES = ("light", "dark")

YEAR_S = 365 * 24 * 3600
STATIC = Path(__file__).parent / "static"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}

View = TypeVar("View", bound=Callable[..., Any])

frame = Blueprint("frame", __name__)


def public(view: View) -> View:
    """A page for people who are not signed in."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def needs(role: Role) -> Callable[[View], View]:
    """A page for people with this role, or one that includes it. Without this mark, viewers may see it."""

    def mark(view: View) -> View:
        view.needed_role = role  # type: ignore[attr-defined]
        return view

    return mark


def person() -> User:
    """Who is signed in."""
    session = signed_in()
    assert session is not None
    return session.user


def actor() -> str:
    """Who does what the current request does, for the audit trail."""
    return person().actor


def signed_in() -> Session | None:
    """The session of the current request; None if nobody is signed in."""
    session: Session | None = g.get("session")
    return session


def may(role: Role) -> bool:
    """Whether the person may do what a role does."""
    session = signed_in()
    return session is not None and session.user.role.may_act_as(role)


def entity() -> str | None:
    """The entity that the person looks at; None is all."""
    return request.cookies.get("entity") or None


def local_path(text: str | None) -> str:
    """A path of these pages; the overview's for anything that could lead elsewhere."""
    if not text or not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        return "/"
    return text


def is_part() -> bool:
    """Whether only a part of the page is asked for, to be put in its place."""
    return "HX-Request" in request.headers


def part(text: str, *, is_over: bool) -> Response:
    """A part that a page asks for again and again; once that `is_over`, `pages.js` loads the whole page."""
    return Response(text, headers={"HX-Trigger": "over"} if is_over and is_part() else {})


def for_print() -> bool:
    """Whether the page is asked for as a document: everything opened, more rows."""
    return request.args.get("view") == "print"


def link(**changes: Any) -> str:
    """The address of the current page with other parameters; None leaves one out."""
    parameters = {**request.args.to_dict(), **changes}
    query = urlencode({name: value for name, value in parameters.items() if value not in (None, "")})
    path = quote(_path_of_page())
    return f"{path}?{query}" if query else path


def _path_of_page() -> str:
    """The path of the page that is shown; after a form that was refused, that of the page it stands on."""
    path = request.path
    if request.method == "POST":
        paths = current_app.create_url_adapter(request)
        while paths is not None and path and not paths.test(path, "GET"):
            path = path.rpartition("/")[0]
    return path or "/"


# Before and after each request


def note_origin() -> None:
    """Name the request, for the log and for its record. The link of an invitation and a sign-in's code are secrets."""
    api, rule = here().api, request.url_rule
    peer, forwarded_for = request.remote_addr, request.headers.get(FORWARDED_FOR)
    named = request.view_args or {}
    is_secret = "token" in named or request.endpoint == "organisation.answered"
    set_origin(
        Origin(
            request_id_from(request.headers.get(HEADER)),
            received_at_ms=to_milliseconds(here().now()),
            began_ns=monotonic_ns(),
            ip=api.addresses.address_of(peer, forwarded_for if api.addresses.trusts_proxies else None),
            method=request.method,
            path=str(rule) if is_secret else request.full_path.rstrip("?"),
            route=None if rule is None else str(rule),
            account_id=named.get("account_id"),
            payment_id=named.get("payment_id"),
        )
    )


def admit() -> AnyResponse | None:
    """Find out who asks; send people who are not signed in to the sign-in, and refuse what their role may not do."""
    if "\x00" in request.path or b"%00" in request.query_string:
        abort(400)  # the ledger keeps no NUL character, so nothing has such a name
    if any("\x00" in value for value in request.form.values()):
        abort(400)
    if isinstance(request.routing_exception, RequestRedirect):
        abort(404)  # it would lead to whatever host the request names
    view = current_app.view_functions.get(request.endpoint or "")
    if request.endpoint == "static" or view is None:
        return None
    here().fresh_figures.note_look()
    token = request.cookies.get(SESSION_COOKIE)
    g.session = here().sign_in.session(token) if token else None
    is_public = getattr(view, "is_public", False)
    if not (is_public and request.method == "POST"):  # a sign-in is nobody's before it has succeeded
        _note_person(g.session)
    if is_public:
        return None
    if g.session is None:
        return _to_sign_in()
    note_form()
    if not may(getattr(view, "needed_role", Role.VIEWER)):
        abort(403)
    return None


def _note_person(session: Session | None) -> None:
    origin = current_origin()
    if session is not None and origin is not None:
        origin.actor = session.user.actor


def _to_sign_in() -> AnyResponse:
    came_for = request.full_path.rstrip("?") if request.method == "GET" else "/"
    target = url_for("sign_in.form", next=None if came_for == "/" else came_for)
    if is_part():
        return Response(status=401, headers={"HX-Redirect": url_for("sign_in.form")})
    return redirect(target, 303)


def secure(response: Response) -> Response:
    """Give every answer the headers that bar what pages never do."""
    response.headers.update(SECURITY_HEADERS)
    if (origin := current_origin()) is not None:
        response.headers[HEADER] = origin.request_id
    if here().is_https:
        response.headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response


def give_session(response: AnyResponse, token: str | None) -> AnyResponse:
    """Have the browser keep a session's token, or forget it."""
    options: dict[str, Any] = {"httponly": True, "samesite": "Lax", "secure": here().is_https, "path": "/"}
    if token is None:
        response.delete_cookie(SESSION_COOKIE, **options)
    else:
        response.set_cookie(SESSION_COOKIE, token, **options)
    return response


# What templates know


def knowledge() -> dict[str, Any]:
    """What every template may use."""
    theme = request.cookies.get("theme", "")
    known: dict[str, Any] = {
        "now": here().now(),
        "theme": "light" if for_print() else theme if theme in THEMES else None,
        "is_print": for_print(),
        "asset": asset_address,
        "link": link,
        "asked_for": asked_for,
        "may": may,
        "Role": Role,
        "user": None,
    }
    session = signed_in()
    if session is not None:
        known |= {"user": session.user, "entity": entity(), "navigation": navigation}
        known |= {"entities": here().entities, "standing_now": standing_now}
    return known


def standing_now() -> Standing:
    """Where the proofs stand, looked up once for each page."""
    if "standing" not in g:
        g.standing = here().standing()
    standing: Standing = g.standing
    return standing


def navigation() -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """The rail: headings with the pages that there are; each with its address, its name, and whether one is on it."""
    current = PART_OF.get(request.blueprint or "", request.blueprint)
    rail = []
    for heading, pages in NAVIGATION:
        there = [(endpoint, name) for endpoint, name in pages if _may_open(endpoint)]
        if there:
            rail.append((heading, [(url_for(e), name, e.partition(".")[0] == current) for e, name in there]))
    return rail


def _may_open(endpoint: str) -> bool:
    """Whether there is such a page, for a person with this role."""
    view = current_app.view_functions.get(endpoint)
    return view is not None and may(getattr(view, "needed_role", Role.VIEWER))


@lru_cache
def _digest(name: str) -> str:
    return sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def asset_address(name: str) -> str:
    """The address of a file for browsers, which changes with its content and may be kept for ever."""
    return url_for("static", filename=name, v=_digest(name))


@frame.get("/preferences")
@public
def preferences() -> AnyResponse:
    """Keep what somebody likes to see, theme or entity, and go back."""
    response = redirect(local_path(request.args.get("back")), 303)
    theme, entity_id = request.args.get("theme"), request.args.get("entity_id")
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=YEAR_S, samesite="Lax", httponly=True)
    elif theme is not None:
        response.delete_cookie("theme")
    if entity_id == "":
        response.delete_cookie("entity")
    elif entity_id is not None and len(entity_id) <= MAX_ID_LENGTH:
        response.set_cookie("entity", entity_id, max_age=YEAR_S, samesite="Lax", httponly=True)
    return response


def install(application: Flask) -> None:
    """Put every page into the frame."""
    application.register_blueprint(frame)
    application.before_request(note_origin)
    application.before_request(admit)
    application.after_request(record)
    application.after_request(secure)
    application.context_processor(knowledge)
