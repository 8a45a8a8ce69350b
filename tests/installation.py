"""What the worlds of all tests share: one way from servers to settings, and one way to prove an installation."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from app.domain.breaks import Break
from app.embedded.servers import ServerUrls
from app.settings import Settings
from app.wiring.workers import build_reconciler, build_verifier
from tests.patience import CACHE_DEADLINE_S

_PRIVATE = TemporaryDirectory(prefix="holdfast-signing-")


def settings_for(urls: ServerUrls, **more: Any) -> Settings:
    """The settings of an installation over these servers; a busy machine gets time to answer."""
    return Settings(
        database_url=urls.database_url,
        owner_database_url=urls.owner_database_url,
        redis_url=urls.redis_url,
        queue_url=urls.redis_url,
        cache_deadline_s=CACHE_DEADLINE_S,
        **{"signing_key_file": Path(_PRIVATE.name) / "signing-key", **more},
    )


def breaks_of(settings: Settings) -> list[Break]:
    """What a full reconciliation and the chain verification find."""
    return build_reconciler(settings).run(full=True).breaks + build_verifier(settings).run().breaks
