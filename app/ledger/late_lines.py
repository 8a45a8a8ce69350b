"""Lines that came in after their period was signed off. They are no part of what was signed until it is reopened."""

from app.domain.statement_records import LateLines

LATE_LINES = """
    SELECT s.source_name, s.account_ref, s.currency_code, v.last_on, count(*)
    FROM public.statement_account a
    CROSS JOIN LATERAL (SELECT o.signed_through FROM public.sign_off o
        WHERE o.statement_account_id = a.statement_account_id ORDER BY o.number DESC LIMIT 1) newest
    CROSS JOIN LATERAL (SELECT o.last_on, (o.summary::json ->> 'last_import_id')::bigint AS import_id
        FROM public.sign_off o WHERE o.statement_account_id = a.statement_account_id AND o.action = 'signed'
            AND o.last_on = newest.signed_through ORDER BY o.number DESC LIMIT 1) v
    JOIN public.statement s ON (s.source_name, s.account_ref, s.currency_code)
        = (a.source_name, a.account_ref, a.currency_code) AND s.import_id > coalesce(v.import_id, 0)
    JOIN public.statement_line l ON l.statement_id = s.statement_id AND l.booked_on <= v.last_on
    WHERE %(import_id)s::bigint IS NULL OR s.import_id = %(import_id)s
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3
"""
"""Of one import, or of all; a signature says up to which import it has read."""


def late_lines(row: tuple[object, ...]) -> LateLines:
    """A row of the query."""
    return LateLines(*row)  # type: ignore[arg-type]  # the columns in their order
