"""Tables against tables: each pair that must agree, compared in both directions by one statement of the database.

Each query gives the subject of a break and its figures. A statement sees one moment, so payments may go on meanwhile.
Only full runs ask all this, for it reads whole tables.
"""

from app.domain.breaks import BreakKind

_ENTRY_FACTS = """
SELECT e.account_id || '#' || e.entry_number, jsonb_build_object(
    'currency_code', e.currency_code, 'account_currency_code', b.currency_code,
    'entity_id', t.entity_id, 'account_entity_id', b.entity_id,
    'posted_at', e.posted_at, 'transaction_posted_at', t.posted_at)
FROM entry e JOIN account_balance b USING (account_id) JOIN ledger_transaction t USING (partition, chain_seq)
WHERE e.currency_code <> b.currency_code OR t.entity_id <> b.entity_id OR e.posted_at <> t.posted_at
"""
_ACCOUNT_FACTS = """
SELECT account_id, jsonb_build_object(
    'account', CASE WHEN a.entity_id IS NOT NULL THEN jsonb_build_object('entity_id', a.entity_id,
        'currency_code', a.currency_code, 'type', a.type, 'overdraft_limit_minor', a.overdraft_limit_minor) END,
    'balance', CASE WHEN b.entity_id IS NOT NULL THEN jsonb_build_object('entity_id', b.entity_id,
        'currency_code', b.currency_code, 'normal_sign', b.normal_sign, 'floor_minor', b.floor_minor) END)
FROM account a FULL JOIN account_balance b USING (account_id)
WHERE a.entity_id IS NULL OR b.entity_id IS NULL OR a.entity_id <> b.entity_id OR a.currency_code <> b.currency_code
    OR b.floor_minor IS DISTINCT FROM -a.overdraft_limit_minor
    OR b.normal_sign <> CASE WHEN a.type IN ('asset', 'expense') THEN 1 ELSE -1 END
"""
_AUTHORIZATIONS = """
WITH history AS (
    SELECT payment_id, count(*) FILTER (WHERE state = 'authorized') AS beginnings,
        count(*) FILTER (WHERE state <> 'authorized') AS ends,
        max(amount_minor) FILTER (WHERE state = 'authorized') AS hold_minor,
        max(state) FILTER (WHERE state <> 'authorized') AS state,
        max(amount_minor) FILTER (WHERE state <> 'authorized') AS captured_minor,
        max(intent_id) FILTER (WHERE state <> 'authorized') AS concluded_by
    FROM hold_event GROUP BY payment_id
), capture AS (
    SELECT t.payment_id, (SELECT sum(e.amount_minor) FROM entry e WHERE e.partition = t.partition
        AND e.chain_seq = t.chain_seq AND e.amount_minor > 0) AS posted_minor
    FROM ledger_transaction t WHERE t.kind = 'capture'
)
SELECT payment_id, jsonb_build_object('state', h.state, 'hold_minor', h.hold_minor, 'captured_minor', h.captured_minor,
    'history_state', y.state, 'history_minor', y.captured_minor, 'posted_minor', c.posted_minor)
FROM hold h FULL JOIN history y USING (payment_id) FULL JOIN capture c USING (payment_id)
WHERE h.state IS NULL OR y.beginnings IS DISTINCT FROM 1 OR y.hold_minor <> h.hold_minor
    OR y.ends <> (h.state <> 'authorized')::int
    OR (h.state <> 'authorized' AND (y.state, y.captured_minor, y.concluded_by)
        IS DISTINCT FROM (h.state, coalesce(h.captured_minor, 0), h.concluded_by))
    OR c.posted_minor IS DISTINCT FROM CASE WHEN h.state = 'captured' THEN h.captured_minor END
"""
_ANSWERED_TWICE = """
SELECT r.payment_id, jsonb_build_object('rejected', r.code, 'also', other.answer) FROM payment_rejection r
JOIN (SELECT payment_id, 'posted' AS answer FROM ledger_transaction
    UNION ALL SELECT payment_id, 'authorized' FROM hold
    UNION ALL SELECT payment_id, 'duplicate' FROM payment_duplicate) other USING (payment_id)
UNION ALL
SELECT d.payment_id, jsonb_build_object('duplicate_of', d.original_payment_id, 'also', other.answer)
FROM payment_duplicate d JOIN (SELECT payment_id, 'posted' AS answer FROM ledger_transaction
    UNION ALL SELECT payment_id, 'authorized' FROM hold) other USING (payment_id)
"""
_DUPLICATES = """
SELECT d.payment_id, jsonb_build_object('original_payment_id', d.original_payment_id) FROM payment_duplicate d
WHERE NOT EXISTS (SELECT FROM ledger_transaction t WHERE t.payment_id = d.original_payment_id)
    AND NOT EXISTS (SELECT FROM hold h WHERE h.payment_id = d.original_payment_id)
"""
# What payments have given back, against the transactions that took it: a refund takes exactly what its entries say, a
# journal or its reversal at most that, and each sum is that of its rows.
_RETURNS = """
WITH told AS (
    SELECT r.*, sum(amount_minor) OVER (PARTITION BY payment_id, account_id ORDER BY chain_seq) AS sum_minor
    FROM payment_return r
), refunded AS (
    SELECT t.relates_to AS payment_id, e.account_id, t.partition, t.chain_seq, e.amount_minor
    FROM ledger_transaction t JOIN entry e USING (partition, chain_seq) WHERE t.kind = 'refund' AND e.amount_minor > 0
), moved AS (
    SELECT t.partition, t.chain_seq, sum(e.amount_minor) AS moved_minor
    FROM ledger_transaction t JOIN entry e USING (partition, chain_seq)
    WHERE t.kind IN ('journal', 'reversal') AND e.amount_minor > 0
        AND EXISTS (SELECT FROM payment_return r WHERE (r.partition, r.chain_seq) = (t.partition, t.chain_seq))
    GROUP BY t.partition, t.chain_seq
)
SELECT payment_id || ' ' || account_id || ' ' || chain_seq, jsonb_build_object('amount_minor', r.amount_minor,
    'returned_minor', r.returned_minor, 'sum_minor', r.sum_minor, 'refund_minor', f.amount_minor,
    'moved_minor', m.moved_minor)
FROM told r FULL JOIN refunded f USING (payment_id, account_id, partition, chain_seq)
LEFT JOIN moved m USING (partition, chain_seq)
WHERE r.returned_minor IS DISTINCT FROM r.sum_minor OR r.amount_minor IS DISTINCT FROM coalesce(f.amount_minor,
    CASE WHEN abs(r.amount_minor) <= m.moved_minor THEN r.amount_minor END)
"""
# What was made, and who made it, against the events that tell of it.
_MADE = """
WITH made (subject, action, actor) AS (
    SELECT account_id, 'account.create', created_by FROM account
    UNION ALL SELECT currency_code, 'asset.register', registered_by FROM asset
    UNION ALL SELECT key_id, 'key.create', NULL FROM api_key
    UNION ALL SELECT key_id, 'key.revoke', NULL FROM api_key WHERE revoked_at IS NOT NULL
    UNION ALL SELECT rotated_from, 'key.rotate', NULL FROM api_key WHERE rotated_from IS NOT NULL
), told AS (
    SELECT subject, action, count(*) AS events, min(actor) AS actor FROM audit_event
    WHERE action IN ('account.create', 'asset.register', 'key.create', 'key.revoke', 'key.rotate')
    GROUP BY subject, action
)
SELECT action || ' ' || subject, jsonb_build_object('events', coalesce(t.events, 0), 'is_there', m.action IS NOT NULL,
    'actor', m.actor, 'told_actor', t.actor)
FROM made m FULL JOIN told t USING (subject, action)
WHERE m.action IS NULL OR t.events IS DISTINCT FROM 1 OR m.actor <> t.actor
"""
# What an account is now, against what it was when it was made and what each recorded change made of it.
_CHANGED = """
WITH latest AS (
    SELECT DISTINCT ON (e.subject, field.key) e.subject, field.key, field.value
    FROM audit_event e CROSS JOIN LATERAL jsonb_each(e.detail -> 'after') field
    WHERE e.action = 'account.change' ORDER BY e.subject, field.key, e.audit_event_id DESC
), changed AS (
    SELECT subject, jsonb_object_agg(key, value) AS facts FROM latest GROUP BY subject
), told AS (
    SELECT m.subject, m.detail || '{"status": "open"}' || coalesce(c.facts, '{}') AS facts
    FROM audit_event m LEFT JOIN changed c USING (subject) WHERE m.action = 'account.create'
)
SELECT 'account.change ' || a.account_id, jsonb_build_object('told', t.facts, 'status', a.status, 'name', a.name,
    'overdraft_limit_minor', a.overdraft_limit_minor)
FROM told t JOIN account a ON a.account_id = t.subject
WHERE NOT jsonb_build_object('type', a.type, 'entity_id', a.entity_id, 'currency_code', a.currency_code,
    'name', a.name, 'status', a.status, 'overdraft_limit_minor', a.overdraft_limit_minor,
    'metadata', a.metadata) @> t.facts
UNION ALL
SELECT 'account.change ' || c.subject, jsonb_build_object('told', c.facts, 'is_there', false)
FROM changed c WHERE NOT EXISTS (SELECT FROM account a WHERE a.account_id = c.subject)
"""
# What was posted, authorized and ended, and by whom, against the audit's records of it. What was recorded in a month
# that the retention has dropped, or before there was an audit, has no record to be compared with. An authorization that
# ended because its capture was rejected is told by the record of the rejection.
_RECORDED = """
WITH kept (since) AS (
    SELECT coalesce(max((response::jsonb ->> 'recorded_before')::timestamptz) + interval '1 minute',
        (SELECT min(recorded_at) FROM audit_call))
    FROM audit_call WHERE action = 'audit.month.drop'
), done (payment_id, action, actor, done_at) AS (
    SELECT payment_id, kind, actor, posted_at FROM ledger_transaction
    UNION ALL SELECT payment_id,
        CASE state WHEN 'authorized' THEN 'authorization' WHEN 'voided' THEN 'void' ELSE 'expiry' END, actor,
        recorded_at
    FROM hold_event e WHERE state IN ('authorized', 'voided', 'expired')
        AND NOT EXISTS (SELECT FROM payment_rejection r WHERE r.payment_id = e.intent_id)
), told AS (
    SELECT payment_id, action, count(*) AS records, min(coalesce(actor, 'key:' || key_id)) AS actor,
        min(recorded_at) AS recorded_at
    FROM audit_call
    WHERE action IN ('payment', 'capture', 'authorization', 'void', 'expiry', 'journal', 'reversal', 'refund')
    GROUP BY payment_id, action
)
SELECT action || ' ' || payment_id, jsonb_build_object('records', coalesce(t.records, 0),
    'is_there', d.actor IS NOT NULL, 'actor', d.actor, 'told_actor', t.actor)
FROM done d FULL JOIN told t USING (payment_id, action)
WHERE (t.records IS DISTINCT FROM 1 OR d.actor IS DISTINCT FROM t.actor)
    AND coalesce(d.done_at, t.recorded_at) >= (SELECT since FROM kept)
"""
_BREAK_HISTORY = """
WITH last AS (
    SELECT DISTINCT ON (break_id) break_id, action, state, owner, reason_code, due_at FROM reconciliation_break_event
    ORDER BY break_id, event_id DESC
)
SELECT b.kind || ' ' || b.subject || ' ' || b.break_id, jsonb_build_object('state', b.state, 'history_state', l.state,
    'owner', b.owner, 'history_owner', l.owner, 'reason_code', b.reason_code, 'history_reason_code', l.reason_code,
    'due_at', b.due_at, 'history_due_at', l.due_at)
FROM reconciliation_break b LEFT JOIN last l USING (break_id) WHERE l.state IS DISTINCT FROM b.state
    OR (l.action IS NOT NULL AND (l.owner, l.reason_code, l.due_at) IS DISTINCT FROM (b.owner, b.reason_code, b.due_at))
"""

CROSS_CHECKS = (
    (BreakKind.ENTRY_MISMATCH, _ENTRY_FACTS),
    (BreakKind.ACCOUNT_MISMATCH, _ACCOUNT_FACTS),
    (BreakKind.AUTHORIZATION_MISMATCH, _AUTHORIZATIONS),
    (BreakKind.ANSWERED_TWICE, _ANSWERED_TWICE),
    (BreakKind.DUPLICATE_WITHOUT_ORIGINAL, _DUPLICATES),
    (BreakKind.RETURN_MISMATCH, _RETURNS),
    (BreakKind.AUDIT_MISMATCH, _MADE),
    (BreakKind.AUDIT_MISMATCH, _CHANGED),
    (BreakKind.AUDIT_MISMATCH, _RECORDED),
    (BreakKind.BREAK_HISTORY, _BREAK_HISTORY),
)
"""The kind of break, and the query that finds it."""
