"""The API on granian's event loop: `granian --interface rsgi workers.api:application`."""

import os
from collections.abc import Callable
from typing import Any

from app.api.application import all_routes
from app.api.server import Server
from app.dashboard.bridge import Pages
from app.embedded.child_process import die_with_parent
from app.logs import configure_logging
from app.process_tuning import tune_api_collection, wake_without_preempting
from app.settings import settings_from
from app.wiring.api import build_api
from app.wiring.tracing import start_tracing

settings = settings_from(os.environ)
configure_logging("api", settings.log_format)
if settings.supervised:
    die_with_parent()
wake_without_preempting()
stop_tracing = start_tracing(settings, "api")
api = build_api(settings)


def pages() -> Any:
    """The pages, imported when somebody opens the first one."""
    from app.dashboard.application import create_pages
    from app.wiring.pages import build_pages

    services = build_pages(settings, api)
    services.fresh_figures.start()
    return create_pages(services)


def stop(stop_services: Callable[[], None] = api.stop) -> None:
    """Write the last records and send the last spans."""
    stop_services()
    stop_tracing()


api.stop = stop
application = Server(api, all_routes(), body_deadline_s=settings.body_deadline_s, pages=Pages(pages))
tune_api_collection()
