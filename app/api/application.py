"""The Flask application: its resources, and a Flask that does less for each request."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from flask import Flask, Request, Response
from flask import request as current_request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter, PathConverter, Rule

from app.api import (
    account_changes,
    accounts,
    assets,
    authorizations,
    batches,
    journals,
    openapi,
    ops,
    payments,
    reports,
)
from app.api.context import EXTENSION, ApiServices
from app.api.requests import malformed
from app.api.responses import install_error_handlers

_NO_SESSION = NullSession()


class _NoSessions(SessionInterface):
    """The API has no cookies."""

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - of the interface
        """One empty session for every request; it cannot be written to."""
        return _NO_SESSION


class _Routes(MapAdapter):
    """The routes as seen by one request; `fixed` is the route without variables that matches it, if there is one."""

    fixed: Rule | None = None

    def match(self, *args: Any, **options: Any) -> Any:
        """The rule and its variables; raises what Werkzeug raises if there is none."""
        if self.fixed is not None and options == {"return_rule": True}:
            return self.fixed, {}
        return super().match(*args, **options)


class LeanFlask(Flask):
    """A Flask in which a request runs one check and one view, and no hooks."""

    session_interface: SessionInterface = _NoSessions()

    def __init__(self, name: str, check: Callable[[Request], None]) -> None:
        """`check` sees every request before its view, and raises to refuse it."""
        super().__init__(name, static_folder=None)
        self._check = check

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match by path and method alone; the API never builds URLs."""
        if request is None:
            return None
        routes = _Routes(self.url_map, "", request.root_path, "", request.scheme, request.path, request.method)
        routes.fixed = self._fixed_routes.get((request.path, request.method))
        return routes

    @cached_property
    def _fixed_routes(self) -> dict[tuple[str, str], Rule]:
        """The routes without variables, by path and method; Flask accepts no further ones after its first request."""
        rules = [rule for rule in self.url_map.iter_rules() if not rule.arguments]
        return {(rule.rule, method): rule for rule in rules for method in rule.methods or ()}

    def preprocess_request(self) -> None:
        """The one check."""
        self._check(current_request)

    def process_response(self, response: Response) -> Response:
        """The response as the view made it."""
        return response

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: no view is a coroutine."""
        return func

    def require_no_hooks(self) -> None:
        """Raise if a hook is registered, because it would never be called."""
        hooks = (
            self.before_request_funcs,
            self.after_request_funcs,
            self.url_value_preprocessors,
        )
        if any(hooks):
            raise TypeError("hooks around requests are not called here; put the code into the view")


LARGEST_BODY = 1024 * 1024


class _AnyText(PathConverter):
    """An id as it is, with slashes, even at its start."""

    regex = ".+?"
    part_isolating = False


def _refuse_nul(request: Request) -> None:
    """Refuse a NUL character in the path or the query: Postgres cannot store one, so nothing can be found by it."""
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
        account_changes,
        assets,
        payments,
        authorizations,
        batches,
        journals,
        reports,
        ops,
        openapi,
    ):
        application.register_blueprint(module.blueprint)
    install_error_handlers(application)
    application.require_no_hooks()
    services.start()
    return application
