"""The Flask application."""

from flask import Flask
from flask.sessions import SessionInterface

from app.api import accounts, health, payments, reference, reports
from app.api.context import EXTENSION, ApiServices
from app.api.problems import install_error_handlers

LARGEST_BODY = 1024 * 1024


class _NoSessions(SessionInterface):
    """The API has no cookies."""

    def open_session(self, app: Flask, request: object) -> None:  # noqa: ARG002
        """No session."""
        return


def create_application(services: ApiServices) -> Flask:
    """The application over these services."""
    application = Flask("holdfast", static_folder=None)
    application.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    application.url_map.strict_slashes = False
    application.session_interface = _NoSessions()
    application.extensions[EXTENSION] = services
    for module in (accounts, payments, reports, health, reference):
        application.register_blueprint(module.blueprint)
    install_error_handlers(application)
    services.start()
    return application
