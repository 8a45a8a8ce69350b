"""The application object for any WSGI server: `granian --interface wsgi wsgi:application`."""

import gc
import os

from app.api.application import create_application
from app.embedded.lifeline import die_with_parent
from app.scheduling import wake_without_haste
from app.settings import settings_from
from app.wiring.api import build_api

settings = settings_from(os.environ)
if settings.supervised:
    die_with_parent()
wake_without_haste()

application = create_application(build_api(settings))

# What was built so far stays for good, and a batch makes some ten objects a payment that live as long as its answer:
# collecting every 700 of them, as is the default, took a third of a batch's time (36 against 24 µs a payment).
gc.freeze()
gc.set_threshold(50_000, 20, 50)
