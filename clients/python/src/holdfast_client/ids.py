"""External ids: what makes a request that is sent twice count once."""

from uuid import uuid4


def new_external_id() -> str:
    """A new one. Whoever may have to repeat a request after a crash keeps it first, or uses the id of an order."""
    return str(uuid4())
