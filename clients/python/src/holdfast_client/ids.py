"""External ids: what makes a request that is sent twice count once."""

from uuid import uuid4


def new_external_id() -> str:
    """A new one. To repeat a request after a crash, store it before you send, or use the id of an order."""
    return str(uuid4())
