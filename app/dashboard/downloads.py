"""Files to download, sent while they are made."""

from collections.abc import Iterable, Sequence

from flask import Response, stream_with_context

from app.domain.csv_export import Value, csv_lines


def csv_answer(name: str, header: Sequence[str], rows: Iterable[Sequence[Value]]) -> Response:
    """A CSV file of this name."""
    response = Response(stream_with_context(csv_lines(header, rows)), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response
