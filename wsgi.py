"""The application object for any WSGI server: `granian --interface wsgi wsgi:application`."""

import atexit
import os

from app.api.application import create_application
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
services = build_api(settings)
application = create_application(services)
atexit.register(services.stop)
tune_api_collection()
