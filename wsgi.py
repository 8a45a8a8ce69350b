"""The application object for any WSGI server: `granian --interface wsgi wsgi:application`."""

import os

from app.api.application import create_application
from app.embedded.lifeline import die_with_parent
from app.settings import settings_from
from app.wiring import build_api

settings = settings_from(os.environ)
if settings.supervised:
    die_with_parent()

application = create_application(build_api(settings))
