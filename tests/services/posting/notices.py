"""The notices of the drain, as those who wait for the ledger receive them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.cache import keys
from app.cache.notifications import decode_notices
from app.domain.settlement import Notice
from tests.patience import PATIENCE_S
from tests.world import World


@contextmanager
def notices(world: World) -> Iterator[Callable[[], Notice]]:
    """Hear what waiters hear: the first notice of each message."""
    with world.client.pubsub() as listener:
        listener.subscribe(keys.SETTLED_CHANNEL)
        assert listener.get_message(timeout=PATIENCE_S)["type"] == "subscribe"
        yield lambda: decode_notices(listener.get_message(timeout=PATIENCE_S)["data"])[0]
