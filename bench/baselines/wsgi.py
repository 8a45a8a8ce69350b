"""The baselines as one Flask application, served by granian with the very settings of the product."""

import os

from flask import Flask, Response
from flask.sessions import SessionInterface

from app.embedded.child_process import die_with_parent
from app.process_tuning import wake_without_preempting
from bench.baselines import authorizations, balance, for_update, optimistic, parse_only, race, serializable
from bench.baselines.common import Refused, refusal

if os.environ.get("HOLDFAST_SUPERVISED") == "1":
    die_with_parent()
wake_without_preempting()  # as the product


class _NoSessions(SessionInterface):
    """The product has none either."""

    def open_session(self, app: Flask, request: object) -> None:  # noqa: ARG002
        """No session."""
        return


application = Flask("baselines", static_folder=None)
application.session_interface = _NoSessions()
for module in (for_update, serializable, optimistic, race, parse_only):
    name = module.__name__.rpartition(".")[2]
    application.add_url_rule(f"/{name}/payments", name, module.submit, methods=["POST"])
application.add_url_rule("/for_update/accounts/<account_id>/balance", "balance", balance.read)
application.add_url_rule("/for_update/holds", "authorize", authorizations.authorize, methods=["POST"])
application.add_url_rule("/for_update/holds/<int:hold_id>/capture", "capture", authorizations.capture, methods=["POST"])
if os.environ.get("BENCH_TIGERBEETLE_ADDRESS"):
    from bench.baselines import tigerbeetle

    application.add_url_rule("/tigerbeetle/payments", "tigerbeetle", tigerbeetle.submit, methods=["POST"])


@application.errorhandler(Refused)
def refuse(refused: Refused) -> Response:
    """A refusal is an answer."""
    return refusal(refused)


@application.get("/readyz")
def ready() -> str:
    """It answers."""
    return "ready"
