"""The Flask application."""

from flask import Flask, request
from flask.sessions import SessionInterface
from werkzeug.routing import PathConverter

from app.api import (
    accounts,
    assets,
    batches,
    changes,
    health,
    holds,
    journals,
    metrics,
    payments,
    reference,
    refunds,
    reports,
)
from app.api.context import EXTENSION, ApiServices
from app.api.problems import install_error_handlers
from app.api.requests import malformed

LARGEST_BODY = 1024 * 1024


class _NoSessions(SessionInterface):
    """The API has no cookies."""

    def open_session(self, app: Flask, request: object) -> None:  # noqa: ARG002
        """No session."""
        return


class _AnyText(PathConverter):
    """An id as it is, a slash at its start included."""

    regex = ".+?"
    part_isolating = False


def _refuse_nul() -> None:
    """Refuse a NUL character where an id or a filter may stand: no book can keep one, so none can be asked for it."""
    if "\x00" in request.path or b"%00" in request.query_string:
        raise malformed("The URL holds a NUL character.")


def create_application(services: ApiServices) -> Flask:
    """The application over these services."""
    application = Flask("holdfast", static_folder=None)
    application.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    application.url_map.merge_slashes = False
    application.url_map.converters["path"] = _AnyText
    application.session_interface = _NoSessions()
    application.extensions[EXTENSION] = services
    for module in (
        accounts,
        changes,
        assets,
        payments,
        holds,
        batches,
        journals,
        refunds,
        reports,
        health,
        metrics,
        reference,
    ):
        application.register_blueprint(module.blueprint)
    application.before_request(_refuse_nul)
    install_error_handlers(application)
    services.start()
    return application
