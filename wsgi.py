"""The application object for any WSGI server: `granian --interface wsgi wsgi:application`."""

import gc
import os

from app.api.application import create_application
from app.embedded.die_with_parent import die_with_parent
from app.process_tuning import wake_without_haste
from app.settings import settings_from
from app.wiring.api import build_api

settings = settings_from(os.environ)
if settings.supervised:
    die_with_parent()
wake_without_haste()

application = create_application(build_api(settings))

# What was built so far stays for good, and a batch makes some ten objects a payment that live as long as its answer.
# To look each 700 of them, as is the default, cost it a fifteenth; each 5,000 costs nothing that can be measured. More
# would make pauses: a request with a variable in its path leaves a cycle of eight, and 50,000 took 45 ms to collect.
gc.freeze()
gc.set_threshold(5_000, 20, 50)
