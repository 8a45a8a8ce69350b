"""Operations: health, readiness and metrics."""

from typing import Literal

from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from app.api.fields import Count
from app.api.responses import Answer, json_answer
from app.api.routes import Call, Routes, Text
from app.api.server_figures import ServerFigures
from app.domain.read_models import Durability
from app.services.access.api_keys import Scope
from app.services.proofs.readiness import ReadinessStatus

routes = Routes()


class Alive(Struct):
    """The process answers."""

    status: Literal["alive"]


class CheckBody(Struct):
    """One condition of readiness."""

    ok: bool
    detail: str


class Ready(Struct):
    """Whether payments can be accepted, and what an acknowledgement survives.

    `status` is `degraded` if only a check fails without which payments are posted more slowly, or webhooks told later.
    `backlog` is how many intents wait for the ledger, null while the cache does not answer.
    """

    status: ReadinessStatus
    durability: Durability
    backlog: Count | None
    checks: dict[str, CheckBody]


@routes.add(
    "GET",
    "/healthz",
    "Whether the process is alive",
    scope=None,
    answers={200: Alive},
)
def alive(call: Call[None]) -> Answer:  # noqa: ARG001 - it asks nothing
    """Always yes, while the process answers."""
    return json_answer(Alive("alive"))


@routes.add(
    "GET",
    "/readyz",
    "Whether payments can be accepted",
    scope=None,
    answers={200: Ready, 503: Ready},
)
def ready(call: Call[None]) -> Answer:
    """Check the cache, the ledger, its migrations and the workers."""
    readiness = call.here.readiness.look()
    checks = {name: CheckBody(check.ok, check.detail) for name, check in readiness.checks.items()}
    body = Ready(readiness.status, readiness.durability, readiness.backlog, checks)
    return json_answer(body, 200 if readiness.ready else 503)


@routes.add(
    "GET",
    "/metrics",
    "Figures for monitoring, in the text format of Prometheus",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: Text(CONTENT_TYPE_LATEST)},
    keeps_answer=False,
)
def metrics(call: Call[None]) -> Answer:
    """Every figure as it stands now; those of a server that does not answer are left out, and that is a figure too."""
    registry = CollectorRegistry()
    registry.register(ServerFigures(call.here))
    return Answer(200, generate_latest(registry), [("content-type", CONTENT_TYPE_LATEST)])
