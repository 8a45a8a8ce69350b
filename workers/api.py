"""The API on granian's event loop: `granian --interface rsgi workers.api:application`."""

import gc
import os

from app.api.application import all_routes
from app.api.server import Server
from app.embedded.die_with_parent import die_with_parent
from app.process_tuning import wake_without_haste
from app.settings import settings_from
from app.wiring.api import build_api

settings = settings_from(os.environ)
if settings.supervised:
    die_with_parent()
wake_without_haste()

application = Server(build_api(settings), all_routes(), body_deadline_s=settings.body_deadline_s)

gc.freeze()
gc.set_threshold(5_000, 20, 50)
