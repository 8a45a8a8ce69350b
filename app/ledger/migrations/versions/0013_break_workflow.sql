-- The workflow of breaks, whatever found them, and what people ask of the reconciliation.

ALTER TABLE reconciliation_run
    ADD COLUMN asked_by text,
    ADD COLUMN expected jsonb,
    ADD COLUMN heard_at timestamptz;
COMMENT ON COLUMN reconciliation_run.asked_by IS 'Who asked for the run; empty where it was due.';
COMMENT ON COLUMN reconciliation_run.expected IS 'What the run set out to check, in the words of checked.';
COMMENT ON COLUMN reconciliation_run.heard_at IS 'When a run under way last said how far it is.';
GRANT UPDATE (heard_at) ON reconciliation_run TO holdfast_app;

ALTER TABLE reconciliation_break
    ADD COLUMN source text NOT NULL DEFAULT 'inside' CHECK (source IN ('inside', 'outside')),
    ADD COLUMN account_id text COLLATE "C",
    ADD COLUMN entity_id text COLLATE "C",
    ADD COLUMN currency_code text,
    ADD COLUMN ledger_minor numeric(30),
    ADD COLUMN other_minor numeric(30),
    ADD COLUMN evidence jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN due_at timestamptz,
    ADD COLUMN settled_at timestamptz,
    ALTER COLUMN first_run_id DROP NOT NULL,
    ALTER COLUMN last_run_id DROP NOT NULL,
    ADD CONSTRAINT reconciliation_break_of_run
        CHECK (source = 'outside' OR (first_run_id IS NOT NULL AND last_run_id IS NOT NULL));
COMMENT ON COLUMN reconciliation_break.source IS 'inside: cache and ledger, or the ledger with itself; outside: the ledger and a statement.';
COMMENT ON COLUMN reconciliation_break.ledger_minor IS 'What the ledger says; of the ledger with itself, what its entries say.';
COMMENT ON COLUMN reconciliation_break.other_minor IS 'What the other side says.';
COMMENT ON COLUMN reconciliation_break.evidence IS 'What proves or explains it: a list of kind and id.';

CREATE INDEX reconciliation_break_due ON reconciliation_break (due_at, break_id) WHERE state IN ('open', 'investigating');
CREATE INDEX reconciliation_break_account ON reconciliation_break (account_id, break_id) WHERE account_id IS NOT NULL;

ALTER TABLE reconciliation_break_event
    ADD COLUMN action text,
    ADD COLUMN owner text,
    ADD COLUMN reason_code text,
    ADD COLUMN due_at timestamptz;
CREATE INDEX reconciliation_break_event_of_break ON reconciliation_break_event (break_id, event_id);
COMMENT ON COLUMN reconciliation_break_event.action IS 'What happened; empty in events of before, which tell the state only.';
COMMENT ON COLUMN reconciliation_break_event.owner IS 'Owner, reason and due date as they were after the event.';

GRANT UPDATE (ledger_minor, other_minor, evidence, due_at, settled_at) ON reconciliation_break TO holdfast_app;

-- Open breaks of before: the account, and a date from the day of the upgrade.
UPDATE reconciliation_break SET
    account_id = CASE
        WHEN kind IN ('cache_behind', 'cache_balance', 'cache_ahead', 'cache_floor', 'held_not_sum', 'balance_not_sum')
            THEN subject
        WHEN kind IN ('hold_without_intent', 'authorization_without_hold', 'entry_running_balance')
            THEN regexp_replace(subject, '#[^#]*$', '') END,
    due_at = clock_timestamp() + CASE
        WHEN kind = 'cache_lost' THEN interval '1 day'
        WHEN kind IN ('cache_behind', 'cache_balance', 'cache_ahead', 'cache_floor', 'held_not_sum',
            'hold_without_intent', 'authorization_without_hold', 'intent_without_hold') THEN interval '4 hours'
        ELSE interval '1 hour' END
    WHERE state IN ('open', 'investigating');
UPDATE reconciliation_break b SET entity_id = a.entity_id, currency_code = a.currency_code
    FROM account a WHERE a.account_id = b.account_id AND b.state IN ('open', 'investigating');

-- What somebody asked of the reconciliation: a run, or the repair of an account in the cache. The maintenance worker does
-- it and says here what has come of it.
CREATE TABLE reconciliation_request (
    request_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mode text NOT NULL CHECK (mode IN ('incremental', 'full', 'repair')),
    break_id bigint REFERENCES reconciliation_break,
    account_id text COLLATE "C",
    reason text NOT NULL DEFAULT '',
    preview jsonb,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    run_id bigint REFERENCES reconciliation_run,
    finished_at timestamptz,
    outcome text CHECK (outcome IN ('done', 'refused', 'failed')),
    detail text NOT NULL DEFAULT '',
    CONSTRAINT reconciliation_request_of_repair
        CHECK (mode <> 'repair' OR (break_id IS NOT NULL AND account_id IS NOT NULL AND reason <> '' AND preview IS NOT NULL)),
    CHECK ((finished_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX reconciliation_request_waiting ON reconciliation_request (request_id) WHERE finished_at IS NULL;
CREATE INDEX reconciliation_request_of_break ON reconciliation_request (break_id) WHERE break_id IS NOT NULL;
COMMENT ON COLUMN reconciliation_request.preview IS 'What the person saw before asking for the repair.';
COMMENT ON COLUMN reconciliation_request.run_id IS 'The run that was asked for, or the one that proved the repair.';

CREATE FUNCTION refuse_second_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'request % is finished', OLD.request_id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'reconciliation_request_finished_once';
END $$;
CREATE TRIGGER reconciliation_request_finished_once BEFORE UPDATE ON reconciliation_request
    FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION refuse_second_outcome();
CREATE TRIGGER reconciliation_request_stays BEFORE DELETE OR TRUNCATE ON reconciliation_request
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT ON reconciliation_request TO holdfast_app;
GRANT INSERT (mode, break_id, account_id, reason, preview, asked_by) ON reconciliation_request TO holdfast_app;
GRANT UPDATE (started_at, run_id, finished_at, outcome, detail) ON reconciliation_request TO holdfast_app;
