"""The call in its statements: a comment names its request id, so that the log of Postgres and its list of activity do.

The comment has the form of sqlcommenter. Statements that are prepared go without, because each of their texts would be
prepared again; the batches of a drain name their calls in the COPY of the audit's records.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Self

import psycopg
from psycopg.abc import Params, Query

from app.domain.origin import current_origin, request_id_of
from app.domain.spans import is_on, span

MOST_NAMED = 10
"""Request ids in the comment of a batch; a batch may have thousands."""

_LONGEST_NAME = 60
"""Characters of a statement in the name of its span."""


class NamedCursor(psycopg.Cursor[Any]):
    """A cursor whose statements say for which call they are run."""

    def execute(self, query: Query, params: Params | None = None, **options: Any) -> Self:
        """Run a statement."""
        origin = current_origin()
        is_prepared = options.get("prepare") or self.connection.prepare_threshold is not None
        with span(_name_of(query)) if is_on() else nullcontext():
            if origin is not None and not is_prepared and isinstance(query, str):
                # A request id has no character that means anything in a comment or to the driver.
                query = f"{query} /*request_id='{origin.request_id}'*/"
            super().execute(query, params, **options)  # type: ignore[arg-type]
        return self


def named(statement: str, origins: Sequence[str]) -> str:
    """A statement that a batch runs, with the request ids of the first calls that the batch is about."""
    names = list(dict.fromkeys(map(request_id_of, origins[:MOST_NAMED])))
    if not names:
        return statement
    more = f",more='{len(origins) - MOST_NAMED}'" if len(origins) > MOST_NAMED else ""
    return f"{statement.rstrip()} /*request_id='{','.join(names)}'{more}*/"


def _name_of(query: Query) -> str:
    """The beginning of a statement, on one line."""
    return " ".join(query.split())[:_LONGEST_NAME] if isinstance(query, str) else "statement"
