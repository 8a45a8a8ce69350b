"""The application of the pages: Flask, with every page and what goes wrong on any."""

import logging
from datetime import timedelta
from types import ModuleType
from typing import Any

from flask import Flask, render_template
from flask_wtf.csrf import CSRFError, CSRFProtect
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from app.dashboard import (
    account,
    account_change,
    account_list,
    audit,
    balance_sheet,
    breaks,
    events,
    formats,
    frame,
    income_statement,
    journals,
    key_pages,
    matching,
    operations,
    organisation,
    overview,
    payment,
    people,
    reconciliation,
    reference,
    search,
    sign_in,
    sign_offs,
    statements,
    trial_balance,
)
from app.dashboard.context import PageServices
from app.domain.errors import Fault, OutcomeUnknown
from app.domain.users import SESSION_LASTS

log = logging.getLogger(__name__)

PAGES: tuple[ModuleType, ...] = (
    sign_in,
    overview,
    account_list,
    account,
    account_change,
    payment,
    search,
    journals,
    trial_balance,
    balance_sheet,
    income_statement,
    reconciliation,
    breaks,
    audit,
    operations,
    key_pages,
    events,
    statements,
    matching,
    sign_offs,
    reference,
)
"""Each has a blueprint `pages`."""

LARGEST_UPLOAD = 16 * 1024 * 1024
"""Bytes of a form with a file; the command line takes files of any size."""

TITLES = {
    400: "This request cannot be read",
    403: "This is not for your role",
    404: "There is nothing here",
    405: "This is no way to ask",
    413: "This is too large",
}

EXPLANATIONS = {
    400: "The request cannot be read as it was sent. Nothing was done.",
    403: "Your role does not include it. Ask the person who administers Holdfast.",
    404: "Nothing has this address. It may be mistyped, or what it names is not in this ledger.",
    405: "This address does not take such a request. Nothing was done.",
    413: "The form is too large. Nothing was done.",
}


def create_pages(services: PageServices) -> Flask:
    """The pages over these services."""
    application = Flask("app.dashboard", static_folder="static")
    # Merged slashes would be answered with a redirect to whatever host the request names.
    application.url_map.merge_slashes = False
    application.extensions["holdfast"] = services
    application.config.update(
        SECRET_KEY=services.secret,
        SESSION_COOKIE_NAME="holdfast_form",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=services.is_https,
        PERMANENT_SESSION_LIFETIME=SESSION_LASTS,
        WTF_CSRF_TIME_LIMIT=int(SESSION_LASTS.total_seconds()),
        WTF_CSRF_SSL_STRICT=services.is_https,
        SEND_FILE_MAX_AGE_DEFAULT=timedelta(days=365),
        MAX_CONTENT_LENGTH=LARGEST_UPLOAD,
        MAX_FORM_MEMORY_SIZE=1024 * 1024,
    )
    application.jinja_env.undefined = StrictUndefined
    application.jinja_env.trim_blocks = application.jinja_env.lstrip_blocks = True
    formats.install(application)
    application.jinja_env.filters["who"] = people.name_of
    frame.install(application)
    CSRFProtect(application)
    for page in PAGES:
        application.register_blueprint(page.pages)
    organisation.install(application)
    application.register_error_handler(CSRFError, _form_is_stale)
    application.register_error_handler(HTTPException, _refused)
    application.register_error_handler(Fault, _failed)
    application.register_error_handler(Exception, _broken)
    return application


def _form_is_stale(_: CSRFError) -> tuple[str, int]:
    return problem("This form is out of date", "Nothing was done. Go back, reload the page, and send it again.", 400)


def _refused(error: HTTPException) -> Any:
    code = error.code or 500
    if code < 400:
        return error
    told = error.description if error.description != type(error).description else None
    return problem(TITLES.get(code, error.name), told or EXPLANATIONS.get(code, error.description or ""), code)


def _failed(fault: Fault) -> tuple[str, int]:
    """A server that does not answer; a page that reads has changed nothing, whatever it is."""
    log.warning("a page was not answered: %s", fault)
    if isinstance(fault, OutcomeUnknown):
        explanation = "Whether it was carried out is not known. Look before you repeat it."
        return problem("The outcome is unknown", explanation, 503)
    return problem("Not available at the moment", f"A server does not answer: {fault}. Nothing was changed.", 503)


def _broken(error: Exception) -> tuple[str, int]:
    log.exception("a page failed", exc_info=error)
    return problem("This page failed", "The cause is in the log of the API. Look before you repeat what you did.", 500)


def problem(title: str, explanation: str, status: int) -> tuple[str, int]:
    """A page that says what did not happen; it asks no server, for one may be the cause."""
    return render_template("problem.html", title=title, explanation=explanation, status=status), status
