-- The books. Identifiers sort by bytes (COLLATE "C"): comparisons are cheap and the order is the same everywhere.
-- No foreign keys lead from the append-only tables: each would cost a look-up a row on the posting path. The posting
-- transaction checks what they would, `verify` and `reconcile` prove it.

CREATE TABLE ledger_setting (
    name text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
);
COMMENT ON TABLE ledger_setting IS 'partitions: fixed at the first migration. directory_version: grows with every change of an account''s facts.';

CREATE TABLE account (
    account_id text COLLATE "C" PRIMARY KEY,
    entity_id text COLLATE "C" NOT NULL,
    type text NOT NULL CHECK (type IN ('asset', 'liability', 'equity', 'revenue', 'expense')),
    currency_code text NOT NULL,
    name text,
    overdraft_limit_minor bigint CHECK (overdraft_limit_minor BETWEEN 0 AND 9007199254740991),
    status text NOT NULL DEFAULT 'open'
        CHECK (status IN ('open', 'frozen_debits', 'frozen_credits', 'frozen', 'closed')),
    metadata jsonb,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN account.overdraft_limit_minor IS 'How far below zero the balance may fall, in minor units; null is no floor.';

CREATE TABLE account_balance (
    id bigint GENERATED ALWAYS AS IDENTITY,
    account_id text COLLATE "C" PRIMARY KEY REFERENCES account,
    entity_id text COLLATE "C" NOT NULL,
    currency_code text NOT NULL,
    normal_sign smallint NOT NULL CHECK (normal_sign IN (1, -1)),
    balance_minor bigint NOT NULL DEFAULT 0
        CONSTRAINT account_balance_in_range CHECK (balance_minor BETWEEN -9007199254740991 AND 9007199254740991),
    floor_minor bigint,
    version bigint NOT NULL DEFAULT 0,
    entry_count bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 60);
COMMENT ON TABLE account_balance IS 'balance_minor = normal_sign × Σ entry.amount_minor over entries 1 to entry_count. The free space lets updates stay on their page.';

CREATE FUNCTION refuse_fall_below_floor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'balance of account % would fall to %, below its floor %',
        NEW.account_id, NEW.balance_minor, NEW.floor_minor
        USING ERRCODE = 'check_violation', CONSTRAINT = 'account_balance_floor';
END $$;

-- A trigger and not a CHECK: a forced cut of an overdraft limit may leave a balance below its floor; from there it may rise, not fall.
CREATE TRIGGER account_balance_floor BEFORE UPDATE OF balance_minor ON account_balance
    FOR EACH ROW WHEN (NEW.balance_minor < NEW.floor_minor AND NEW.balance_minor < OLD.balance_minor)
    EXECUTE FUNCTION refuse_fall_below_floor();

CREATE TABLE partition (
    partition smallint PRIMARY KEY,
    chain_seq bigint NOT NULL DEFAULT 0,
    chain_hash bytea NOT NULL,
    last_position text COLLATE "C" NOT NULL DEFAULT '',
    last_posted_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE partition IS 'The head of each hash chain; posting locks it, so a chain has one writer at a time.';

CREATE TABLE ledger_transaction (
    partition smallint NOT NULL,
    chain_seq bigint NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    payment_id text COLLATE "C" NOT NULL,
    relates_to text COLLATE "C",
    fingerprint text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    description text,
    metadata json,
    accepted_at timestamptz NOT NULL,
    effective_at timestamptz NOT NULL,
    posted_at timestamptz NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (partition, chain_seq),
    CONSTRAINT ledger_transaction_external_id UNIQUE (entity_id, external_id),
    CONSTRAINT ledger_transaction_payment_id UNIQUE (payment_id)
);
CREATE INDEX ledger_transaction_relates_to ON ledger_transaction (relates_to) WHERE relates_to IS NOT NULL;
COMMENT ON COLUMN ledger_transaction.relates_to IS 'The payment that a refund takes back, or the journal that a reversal undoes.';
COMMENT ON TABLE ledger_transaction IS 'Append-only. chain_seq has no gap within a partition; posted_at never runs backwards within one.';
COMMENT ON COLUMN ledger_transaction.metadata IS 'json and not jsonb: the text is hashed, so it must come back as it went in.';

CREATE TABLE entry (
    account_id text COLLATE "C" NOT NULL,
    entry_number bigint NOT NULL,
    partition smallint NOT NULL,
    chain_seq bigint NOT NULL,
    leg smallint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    balance_minor bigint NOT NULL,
    currency_code text NOT NULL,
    posted_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, entry_number)
);
CREATE INDEX entry_of_transaction ON entry (partition, chain_seq);
COMMENT ON COLUMN entry.amount_minor IS 'Signed, debit positive, so that balanced means Σ = 0.';
COMMENT ON COLUMN entry.balance_minor IS 'The account''s balance on its normal side after this entry.';

CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE culprit record;
BEGIN
    SELECT partition, chain_seq, currency_code, sum(amount_minor) AS difference INTO culprit
        FROM inserted GROUP BY partition, chain_seq, currency_code HAVING sum(amount_minor) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entries of transaction %/% do not sum to zero in %: %',
            culprit.partition, culprit.chain_seq, culprit.currency_code, culprit.difference
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_balanced';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entry_balanced AFTER INSERT ON entry REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced();

CREATE TABLE payment_rejection (
    payment_id text COLLATE "C" PRIMARY KEY,
    entity_id text COLLATE "C" NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    figures jsonb NOT NULL,
    intent jsonb NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX payment_rejection_external_id ON payment_rejection (entity_id, external_id);
COMMENT ON TABLE payment_rejection IS 'Append-only. Payments that were acknowledged as pending and that the books refused.';

CREATE TABLE payment_duplicate (
    payment_id text COLLATE "C" PRIMARY KEY,
    original_payment_id text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE payment_duplicate IS 'Append-only. Late repeats of a payment that was posted already: same external_id, same content, nothing posted.';

CREATE TABLE hold (
    payment_id text COLLATE "C" PRIMARY KEY,
    entity_id text COLLATE "C" NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    guarded_account_id text COLLATE "C" NOT NULL,
    hold_minor bigint NOT NULL CHECK (hold_minor >= 0),
    currency_code text NOT NULL,
    legs jsonb NOT NULL,
    state text NOT NULL DEFAULT 'authorized' CHECK (state IN ('authorized', 'captured', 'voided', 'expired')),
    expires_at timestamptz NOT NULL,
    captured_minor bigint,
    concluded_by text COLLATE "C",
    actor text NOT NULL,
    description text,
    effective_at timestamptz,
    metadata json,
    accepted_at timestamptz NOT NULL,
    concluded_at timestamptz,
    CONSTRAINT hold_external_id UNIQUE (entity_id, external_id),
    CONSTRAINT hold_concluded CHECK ((state = 'authorized') = (concluded_by IS NULL))
);
CREATE INDEX hold_due ON hold (expires_at) WHERE state = 'authorized';
CREATE INDEX hold_open ON hold (guarded_account_id) WHERE state = 'authorized';
COMMENT ON TABLE hold IS 'Authorizations: authorized, then captured, voided or expired, once. legs: [account, signed amount] as authorized.';

CREATE FUNCTION refuse_second_conclusion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'authorization % is % already', OLD.payment_id, OLD.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_concluded_once';
END $$;
CREATE TRIGGER hold_concluded_once BEFORE UPDATE ON hold
    FOR EACH ROW WHEN (OLD.state <> 'authorized') EXECUTE FUNCTION refuse_second_conclusion();

CREATE TABLE hold_event (
    hold_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id text COLLATE "C" NOT NULL,
    state text NOT NULL,
    amount_minor bigint NOT NULL,
    actor text NOT NULL,
    intent_id text COLLATE "C",
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX hold_event_payment ON hold_event (payment_id, hold_event_id);
CREATE INDEX hold_event_intent ON hold_event (intent_id);
COMMENT ON TABLE hold_event IS 'Append-only. The history of each authorization: what, how much, who, when.';

CREATE TABLE conflict_count (
    account_id text COLLATE "C" PRIMARY KEY,
    retries bigint NOT NULL,
    exhausted bigint NOT NULL DEFAULT 0,
    last_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE conflict_count IS 'How often posting had to try again because somebody else held the account: where the hot rows are.';

CREATE TABLE audit_event (
    audit_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor text NOT NULL,
    action text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    detail jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX audit_event_subject ON audit_event (subject, audit_event_id);
COMMENT ON TABLE audit_event IS 'Append-only. What was done beside moving money: who, what, on what, when.';

CREATE TABLE api_key (
    key_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    secret_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz
);
COMMENT ON COLUMN api_key.secret_hash IS 'SHA-256 of the secret; it has 256 random bits, so no slow hash is needed.';

CREATE TABLE reconciliation_run (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mode text NOT NULL CHECK (mode IN ('incremental', 'full')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    checked jsonb,
    break_count integer
);

CREATE TABLE reconciliation_break (
    break_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    figures jsonb NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'investigating', 'resolved', 'accepted')),
    owner text,
    reason_code text,
    first_run_id bigint NOT NULL REFERENCES reconciliation_run,
    last_run_id bigint NOT NULL REFERENCES reconciliation_run,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX reconciliation_break_unsettled ON reconciliation_break (kind, subject)
    WHERE state IN ('open', 'investigating');

CREATE TABLE reconciliation_break_event (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    break_id bigint NOT NULL REFERENCES reconciliation_break,
    actor text NOT NULL,
    state text NOT NULL,
    note text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE reconciliation_break_event IS 'Append-only. The history of each break.';

CREATE TABLE reconciliation_cursor (
    partition smallint PRIMARY KEY REFERENCES partition,
    chain_seq bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE reconciliation_cursor IS 'Up to where the incremental run has checked each chain.';

CREATE TABLE chain_head_export (
    partition smallint NOT NULL,
    chain_seq bigint NOT NULL,
    chain_hash bytea NOT NULL,
    exported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (partition, chain_seq)
);
COMMENT ON TABLE chain_head_export IS 'Append-only. Heads as they were when a run ended; a copy leaves the database as a file, so that a cut tail shows.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'Correct a posting with a reversal.';
END $$;

DO $$
DECLARE append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY[
        'ledger_transaction', 'entry', 'payment_rejection', 'payment_duplicate', 'hold_event', 'audit_event',
        'reconciliation_break_event', 'chain_head_export']
    LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            append_only || '_append_only', append_only);
    END LOOP;
END $$;
