"""Flask, without what it does for every request and this API has no use for.

Flask gives the methods below to override. What they leave out took about a fifth of Flask's part of a payment: binding
routes to the host that was asked (the API answers on any), a session, and a walk through the lists of hooks.
"""

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response
from flask import request as current_request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

_NO_SESSION = NullSession()


class _NoSessions(SessionInterface):
    """The API has no cookies."""

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - of the interface
        """The same nothing for everybody; it cannot be written to."""
        return _NO_SESSION


class LeanFlask(Flask):
    """A Flask whose requests meet one check, one view, and no hooks."""

    session_interface: SessionInterface = _NoSessions()

    def __init__(self, name: str, check: Callable[[Request], None]) -> None:
        """`check` sees every request before its view, and raises where it must not come there."""
        super().__init__(name, static_folder=None)
        self._check = check

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match by path and method alone; no URL is ever built."""
        if request is None:
            return None
        return MapAdapter(self.url_map, "", request.root_path, "", request.scheme, request.path, request.method)

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
        """Raise if somebody registered a hook, for it would never be called."""
        hooks = (
            self.before_request_funcs,
            self.after_request_funcs,
            self.url_value_preprocessors,
        )
        if any(hooks):
            raise TypeError("hooks around requests are not called here; put the code where it is needed")
