"""The Flask application."""

from flask import Request
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
from app.api.framework import LeanFlask
from app.api.problems import install_error_handlers
from app.api.requests import malformed

LARGEST_BODY = 1024 * 1024


class _AnyText(PathConverter):
    """An id as it is, a slash at its start included."""

    regex = ".+?"
    part_isolating = False


def _refuse_nul(request: Request) -> None:
    """Refuse a NUL character where an id or a filter may stand: no book can keep one, so none can be asked for it."""
    if "\x00" in request.path or b"%00" in request.query_string:
        raise malformed("The URL holds a NUL character.")


def create_application(services: ApiServices) -> LeanFlask:
    """The application over these services."""
    application = LeanFlask("holdfast", check=_refuse_nul)
    application.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    application.url_map.merge_slashes = False
    application.url_map.converters["path"] = _AnyText
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
    install_error_handlers(application)
    application.require_no_hooks()
    services.start()
    return application
