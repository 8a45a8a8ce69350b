"""Putting on record what people ask of the pages: every page that is read, and every form that changed nothing.

What changes something records itself, with the change. The rest is gathered like the API's calls, written five times a
second, and so costs a page nothing. Files for browsers are not recorded: they are the same for everybody.
"""

import json

from flask import Response, request

from app.dashboard.context import here
from app.domain.origin import LARGEST_BODY, current_origin
from app.domain.refusals import RefusalCode

SECRET_FIELDS = frozenset({"password", "repeated", "totp", "csrf_token", "token"})
"""Fields of forms that nobody may read later; a name that nobody has could be a password in the wrong field."""

CODES = {
    400: RefusalCode.MALFORMED_REQUEST,
    401: RefusalCode.UNAUTHENTICATED,
    403: RefusalCode.FORBIDDEN,
    404: RefusalCode.NOT_FOUND,
    405: RefusalCode.METHOD_NOT_ALLOWED,
    413: RefusalCode.PAYLOAD_TOO_LARGE,
    422: RefusalCode.MALFORMED_REQUEST,
    500: RefusalCode.INTERNAL_ERROR,
    503: RefusalCode.SERVER_BUSY,
}
"""What a page's status says in the words of the API."""


def note_form() -> None:
    """Note what a form says, without secrets, for the record of whatever comes of it."""
    origin = current_origin()
    if origin is None or request.method != "POST" or request.endpoint == "sign_in.sign_in":
        return
    fields = {name: texts if len(texts) > 1 else texts[0] for name, texts in request.form.lists()}
    told = {name: text for name, text in fields.items() if name not in SECRET_FIELDS}
    text = json.dumps(told, ensure_ascii=False).encode(errors="replace") if told else b""
    origin.request, origin.request_bytes = text[: LARGEST_BODY + 1_024], len(text)


def record(response: Response) -> Response:
    """Have a page's call written to the audit, unless what it changed has recorded it already."""
    origin = current_origin()
    if origin is None or request.endpoint == "static":
        return response
    if origin.is_recorded or (origin.has_change and response.status_code < 400):
        return response
    code = CODES.get(response.status_code)
    if code is None and origin.actor is None and "/sign-in" in response.headers.get("Location", ""):
        code = RefusalCode.UNAUTHENTICATED
    here().api.recorder.note(origin, response.status_code, None if code is None else code.value, b"")
    return response
