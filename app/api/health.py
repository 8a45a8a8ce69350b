"""Health: alive and ready. Open to all: they tell nothing about anybody's money."""

from flask import Blueprint, Response
from msgspec import Struct

from app.api.access import operation
from app.api.context import services
from app.api.rendering import json_response

blueprint = Blueprint("health", __name__)


class Alive(Struct):
    """The process answers."""

    status: str


class CheckBody(Struct):
    """One thing that must be in order."""

    ok: bool
    detail: str


class Ready(Struct):
    """Whether payments can be taken, and what an acknowledgement means here.

    `backlog` is how many intents wait for the books, null while the cache does not tell.
    """

    status: str
    durability: str
    backlog: int | None
    checks: dict[str, CheckBody]


@blueprint.get("/healthz")
@operation("Whether the process is alive", scope=None, answers={200: Alive})
def alive() -> Response:
    """Always yes, while it answers."""
    return json_response(Alive("alive"))


@blueprint.get("/readyz")
@operation("Whether payments can be taken", scope=None, answers={200: Ready, 503: Ready})
def ready() -> Response:
    """Look at cache, books, migrations and workers."""
    readiness = services().readiness.look()
    checks = {name: CheckBody(check.ok, check.detail) for name, check in readiness.checks.items()}
    body = Ready("ready" if readiness.ready else "not_ready", readiness.durability, readiness.backlog, checks)
    return json_response(body, 200 if readiness.ready else 503)
