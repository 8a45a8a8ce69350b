"""The API on granian's event loop: `granian --interface rsgi workers.api:application`."""

import os

from app.api.application import all_routes
from app.api.server import Server
from app.embedded.child_process import die_with_parent
from app.logs import configure_logging
from app.process_tuning import tune_api_collection, wake_without_preempting
from app.settings import settings_from
from app.wiring.api import build_api

settings = settings_from(os.environ)
configure_logging("api", settings.log_format)
if settings.supervised:
    die_with_parent()
wake_without_preempting()
application = Server(build_api(settings), all_routes(), body_deadline_s=settings.body_deadline_s)
tune_api_collection()
