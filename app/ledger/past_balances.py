"""What accounts had come to at an instant of the past.

All accounts: from the nearer end of the ledger. The instants that people ask for, such as the end of last month, are
near now, so few entries are later, BRIN indexes find them, and the balances of now lose what they come to. Near the
beginning, the few earlier ones are added up. By the time of effect it is the same, and the entries change sides that
take effect before such an instant and are posted after it, or the other way round.

Some accounts: the balance after the last entry that was posted before the instant, which bisection finds by some twenty
look-ups by primary key, however many entries there are; by the time of effect, with the later entries that took effect
early, and without the earlier ones that take effect late.

LATERAL with OFFSET 0 has the database look rows up one by one: from the ranges of two times it cannot tell how few
transactions lie in one and not in the other.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from app.domain.read_models import AsOf, LedgerMoment, TimeBasis

_POSTED = {
    True: "SELECT account_id, -amount_minor AS minor FROM entry WHERE posted_at >= :before",
    False: "SELECT account_id, amount_minor AS minor FROM entry WHERE posted_at < :before",
}
"""What happened after an instant is taken off the balances of now, or what happened before it is added up."""

_OTHERWISE = """
    SELECT e.account_id, CASE WHEN t.posted_at < {instant} THEN -e.amount_minor ELSE e.amount_minor END AS minor
    FROM ledger_transaction t
    CROSS JOIN LATERAL (
        SELECT account_id, amount_minor FROM entry WHERE partition = t.partition AND chain_seq = t.chain_seq OFFSET 0
    ) e
    WHERE {condition}
"""
_LATE = "t.posted_at < {instant} AND t.effective_at >= {instant}"
_LATE_OR_EARLY = f"{_LATE} OR t.posted_at >= {{instant}} AND t.effective_at < {{instant}}"
_ARE_MANY_OTHERWISE = text(f"""
    SELECT count(*) > (SELECT sum(chain_seq) / 4 FROM partition) FROM (
        SELECT FROM ledger_transaction t WHERE {_LATE_OR_EARLY.format(instant=":before")}
        LIMIT (SELECT sum(chain_seq) / 4 + 1 FROM partition)
    ) t
""")  # noqa: S608 - nothing of a request is in it
"""An imported history takes effect before it is posted, all of it. From a quarter on, one join of all is as quick."""

_TAKEN_EFFECT = """
    SELECT e.account_id, e.amount_minor AS minor FROM entry e
    JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
    WHERE t.effective_at < :before
"""
_SINCE = """
    SELECT e.account_id, -e.amount_minor AS minor
    FROM unnest(CAST(:chain_seqs AS bigint[])) WITH ORDINALITY AS head (chain_seq, number)
    JOIN partition p ON p.partition = head.number - 1
    CROSS JOIN LATERAL (
        SELECT * FROM entry WHERE partition = p.partition AND chain_seq > head.chain_seq AND chain_seq <= p.chain_seq
        OFFSET 0
    ) e
"""
_AND_EARLIER = {
    TimeBasis.POSTED: "WHERE e.posted_at < :before",
    TimeBasis.EFFECTIVE: """
    CROSS JOIN LATERAL (
        SELECT effective_at FROM ledger_transaction WHERE partition = e.partition AND chain_seq = e.chain_seq OFFSET 0
    ) t
    WHERE t.effective_at < :before
    """,
}
_IS_NEARER_TO_NOW = text("""
    SELECT 2 * coalesce(sum(p.chain_seq) FILTER (WHERE t.posted_at < :before), 0) >= coalesce(sum(p.chain_seq), 0)
    FROM partition p
    JOIN ledger_transaction t ON t.partition = p.partition AND t.chain_seq = (p.chain_seq + 1) / 2
""")


@dataclass(slots=True, frozen=True)
class Way:
    """A query of what accounts moved, debit positive, from now or else from the beginning, to an instant.

    Its columns are `account_id` and `minor`; an account may have several rows, or none.
    """

    from_now: bool
    query: str
    parameters: dict[str, Any]


def way_to(connection: Connection, as_of: AsOf | None, moment: LedgerMoment | None) -> Way:
    """The way to what was in the ledger at a moment and happened by an instant: from the nearer end.

    The transaction in the middle of each chain tells which end is nearer.
    """
    from_now, parts, parameters = True, [], dict[str, Any]()
    if as_of is not None:
        parameters["before"] = as_of.before
        if as_of.by is TimeBasis.EFFECTIVE and connection.execute(_ARE_MANY_OTHERWISE, parameters).scalar_one():
            from_now = False
            parts.append(_TAKEN_EFFECT)
        else:
            from_now = connection.execute(_IS_NEARER_TO_NOW, parameters).scalar_one()
            parts.append(_POSTED[from_now])
            if as_of.by is TimeBasis.EFFECTIVE:
                parts.append(_otherwise(_LATE_OR_EARLY, ":before"))
    if moment is not None:
        parts.append(_SINCE if as_of is None else _SINCE + _AND_EARLIER[as_of.by])
        parameters["chain_seqs"] = list(moment.chain_seqs)
    return Way(from_now, " UNION ALL ".join(parts), parameters)


def _otherwise(condition: str, instant: str) -> str:
    """What transactions change that take effect on the other side of an instant than they were posted."""
    return _OTHERWISE.format(condition=condition.format(instant=instant), instant=instant)


_REACHED = """
WITH RECURSIVE wanted AS MATERIALIZED ({wanted}), search (account_id, normal_sign, n, at, low, high) AS (
    SELECT w.account_id, w.normal_sign, m.n, m.at, CASE WHEN m.n = 2 AND m.at IS NULL THEN w.entry_count ELSE 0 END,
        CASE WHEN m.n = 1 AND m.at IS NULL THEN 0 ELSE w.entry_count END
    FROM wanted w CROSS JOIN (VALUES (1, CAST(:begins AS timestamptz)), (2, CAST(:ends AS timestamptz))) AS m (n, at)
    UNION ALL
    SELECT s.account_id, s.normal_sign, s.n, s.at, CASE WHEN e.posted_at < s.at THEN s.middle ELSE s.low END,
        CASE WHEN e.posted_at < s.at THEN s.high ELSE s.middle - 1 END
    FROM (SELECT *, (low + high + 1) / 2 AS middle FROM search WHERE low < high) s
    CROSS JOIN LATERAL (
        SELECT posted_at FROM entry WHERE account_id = s.account_id AND entry_number = s.middle OFFSET 0
    ) e
), found AS (
    SELECT account_id, normal_sign, n, at, low FROM search WHERE low >= high
), reached (account_id, n, minor) AS (
    SELECT f.account_id, f.n, e.balance_minor FROM found f
    CROSS JOIN LATERAL (
        SELECT balance_minor FROM entry WHERE account_id = f.account_id AND entry_number = f.low OFFSET 0
    ) e
    {corrected}
)
SELECT w.account_id, w.entity_id, w.type, w.currency_code, coalesce(sum(r.minor) FILTER (WHERE r.n = 1), 0),
    coalesce(sum(r.minor) FILTER (WHERE r.n = 2), 0), w.balance_minor
FROM wanted w LEFT JOIN reached r USING (account_id)
GROUP BY w.account_id, w.entity_id, w.type, w.currency_code, w.balance_minor
"""
_CORRECTED = {
    TimeBasis.POSTED: "",
    TimeBasis.EFFECTIVE: f"""
    UNION ALL
    SELECT f.account_id, f.n, f.normal_sign * e.amount_minor FROM found f
    CROSS JOIN LATERAL (
        SELECT partition, chain_seq, amount_minor FROM entry
        WHERE account_id = f.account_id AND entry_number > f.low OFFSET 0
    ) e
    CROSS JOIN LATERAL (
        SELECT effective_at FROM ledger_transaction WHERE partition = e.partition AND chain_seq = e.chain_seq OFFSET 0
    ) t
    WHERE f.at IS NOT NULL AND t.effective_at < f.at
    UNION ALL
    SELECT account_id, 1, normal_sign * minor FROM wanted JOIN ({_otherwise(_LATE, ":begins")}) l USING (account_id)
    UNION ALL
    SELECT account_id, 2, normal_sign * minor FROM wanted JOIN ({_otherwise(_LATE, ":ends")}) l USING (account_id)
    """,  # noqa: S608 - nothing of a request is in it
}


def reached(wanted: str, by: TimeBasis) -> str:
    """What some accounts had come to before the parameters `begins` and `ends`, a row for each, on its own side.

    `wanted` selects them, with their columns of both tables. Its columns are the account's id, entity, type, currency,
    what it had come to before `begins` (0 if that is null), before `ends` (all if that is null), and its balance now.
    """
    return _REACHED.format(wanted=wanted, corrected=_CORRECTED[by])
