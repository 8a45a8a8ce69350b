"""The application object for any WSGI server: `granian --interface wsgi wsgi:application`."""

import atexit
import os
from functools import cache
from typing import Any

from app.api.application import create_application
from app.api.routes import is_of_api
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
atexit.register(start_tracing(settings, "api"))
services = build_api(settings)
api = create_application(services)
atexit.register(services.stop)
tune_api_collection()


@cache
def pages() -> Any:
    """The pages, imported when somebody opens the first one."""
    from app.dashboard.application import create_pages
    from app.wiring.pages import build_pages

    return create_pages(build_pages(settings, services))


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """The API for its paths, the pages for all others."""
    return (api if is_of_api(environ["PATH_INFO"]) else pages())(environ, start_response)
