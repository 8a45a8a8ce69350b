"""Request ids: the name of one call, in its answer, in the log, and in every record that it leaves."""

import re
from secrets import token_hex

HEADER = "X-Request-Id"

_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
"""What is safe in a header, a log line and a URL, and short enough to be kept with every record."""

_RANDOM_BYTES = 12
"""So two of a billion calls share an id with a chance of less than one in a hundred billion."""


def request_id_from(sent: str | None) -> str:
    """The id that a client sent where it is sane, else a new one."""
    if sent is not None and _SANE.fullmatch(sent):
        return sent
    return token_hex(_RANDOM_BYTES)
