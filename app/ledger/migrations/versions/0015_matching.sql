-- Matching: which line of a statement is which entry of the ledger. A match is made once and may be undone; its lines,
-- entries, rule and figures stay. What is free again may be matched by another one.

CREATE TABLE statement_account (
    statement_account_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_name text COLLATE "C" NOT NULL,
    account_ref text COLLATE "C" NOT NULL,
    currency_code text COLLATE "C" NOT NULL,
    CONSTRAINT statement_account_once UNIQUE (source_name, account_ref, currency_code)
);
COMMENT ON TABLE statement_account IS 'Append-only. An account of a bank or processor that is matched with one of the ledger.';

CREATE TABLE matching_setup (
    statement_account_id bigint NOT NULL REFERENCES statement_account (statement_account_id),
    version integer NOT NULL CHECK (version > 0),
    account_id text COLLATE "C" NOT NULL REFERENCES account (account_id),
    starts_on date NOT NULL,
    rules jsonb NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (statement_account_id, version)
);
COMMENT ON TABLE matching_setup IS 'Append-only. The newest version is in force; each match of a rule names the version that it was made with.';
COMMENT ON COLUMN matching_setup.starts_on IS 'What was before this day is brought forward as one figure.';

CREATE TABLE match_run (
    match_run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement_account_id bigint NOT NULL,
    version integer NOT NULL,
    line_count bigint NOT NULL,
    entry_count bigint NOT NULL,
    matched_count bigint NOT NULL,
    suggested_count bigint NOT NULL,
    covered_through date,
    run_by text NOT NULL,
    run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (statement_account_id, version) REFERENCES matching_setup (statement_account_id, version)
);
CREATE INDEX match_run_of_account ON match_run (statement_account_id, match_run_id);
COMMENT ON TABLE match_run IS 'Append-only. One run of the rules over what had no match.';

CREATE TABLE statement_match (
    match_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement_account_id bigint NOT NULL REFERENCES statement_account (statement_account_id),
    match_run_id bigint REFERENCES match_run (match_run_id),
    rule text NOT NULL,
    figures jsonb NOT NULL,
    lines_minor numeric(30) NOT NULL,
    entries_minor numeric(30) NOT NULL,
    settled_on date NOT NULL,
    state text NOT NULL CHECK (state IN ('suggested', 'matched', 'undone')),
    former_match_id bigint REFERENCES statement_match (match_id),
    journal_id text COLLATE "C",
    made_by text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX statement_match_of_account ON statement_match (statement_account_id, settled_on, match_id);
CREATE INDEX statement_match_suggested ON statement_match (statement_account_id, match_id) WHERE state = 'suggested';
COMMENT ON COLUMN statement_match.figures IS 'The rule as it was, the key, and how many days lie between; of a match by hand, the reason.';
COMMENT ON COLUMN statement_match.settled_on IS 'The last day of its lines and entries: from then on both sides have it.';
COMMENT ON COLUMN statement_match.former_match_id IS 'The match that this one takes the place of.';

CREATE TABLE match_line (
    match_id bigint NOT NULL REFERENCES statement_match (match_id),
    statement_line_id bigint NOT NULL REFERENCES statement_line (statement_line_id),
    is_live boolean NOT NULL DEFAULT true,
    PRIMARY KEY (match_id, statement_line_id)
);
CREATE UNIQUE INDEX match_line_once ON match_line (statement_line_id) WHERE is_live;
CREATE TABLE match_entry (
    match_id bigint NOT NULL REFERENCES statement_match (match_id),
    account_id text COLLATE "C" NOT NULL,
    entry_number bigint NOT NULL,
    is_live boolean NOT NULL DEFAULT true,
    PRIMARY KEY (match_id, account_id, entry_number)
);
CREATE UNIQUE INDEX match_entry_once ON match_entry (account_id, entry_number) WHERE is_live;
COMMENT ON COLUMN match_line.is_live IS 'False once its match is undone: the line is free again.';

CREATE TABLE match_event (
    match_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    match_id bigint NOT NULL REFERENCES statement_match (match_id),
    action text NOT NULL CHECK (action IN ('matched', 'confirmed', 'undone')),
    actor text NOT NULL,
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX match_event_of_match ON match_event (match_id, match_event_id);
COMMENT ON TABLE match_event IS 'Append-only. What people have decided on a match, and why.';

CREATE TABLE unmatched_item (
    unmatched_item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement_account_id bigint NOT NULL REFERENCES statement_account (statement_account_id),
    statement_line_id bigint REFERENCES statement_line (statement_line_id),
    entry_number bigint,
    booked_on date NOT NULL,
    amount_minor bigint NOT NULL,
    other_minor bigint,
    reason text NOT NULL CHECK (reason IN ('duplicate', 'reversed', 'amount_differs', 'fee', 'timing', 'missing_here',
        'missing_there')),
    resembles text NOT NULL,
    is_open boolean NOT NULL DEFAULT true,
    break_id bigint REFERENCES reconciliation_break (break_id),
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at timestamptz,
    CHECK (statement_line_id IS NOT NULL OR entry_number IS NOT NULL)
);
CREATE UNIQUE INDEX unmatched_item_of_line ON unmatched_item (statement_line_id)
    WHERE is_open AND statement_line_id IS NOT NULL;
CREATE UNIQUE INDEX unmatched_item_of_entry ON unmatched_item (statement_account_id, entry_number)
    WHERE is_open AND entry_number IS NOT NULL;
CREATE INDEX unmatched_item_of_account ON unmatched_item (statement_account_id, booked_on, unmatched_item_id)
    WHERE is_open;
COMMENT ON TABLE unmatched_item IS 'A line without an entry, or an entry without a line, and why it may be so. Its break says who looks after it.';
COMMENT ON COLUMN unmatched_item.other_minor IS 'The amount of the entry, where line and entry have the same reference and different amounts.';

DO $$
DECLARE append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY['statement_account', 'matching_setup', 'match_run', 'match_event']
    LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            append_only || '_append_only', append_only);
    END LOOP;
    FOREACH append_only IN ARRAY ARRAY['statement_match', 'match_line', 'match_entry', 'unmatched_item']
    LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            append_only || '_stays', append_only);
    END LOOP;
END $$;

-- A match goes one way: suggested, matched, undone. Its lines and entries become free when it is undone, and not before.
CREATE FUNCTION refuse_match_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (('suggested', 'matched'), ('suggested', 'undone'), ('matched', 'undone')) THEN
        RAISE EXCEPTION 'match % is %, and cannot become %', OLD.match_id, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'statement_match_one_way';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER statement_match_one_way BEFORE UPDATE ON statement_match FOR EACH ROW EXECUTE FUNCTION refuse_match_change();

CREATE FUNCTION refuse_part_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.is_live OR NOT EXISTS (SELECT FROM public.statement_match m WHERE m.match_id = OLD.match_id AND m.state = 'undone')
    THEN
        RAISE EXCEPTION 'match % has not been undone', OLD.match_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'match_part_of_undone';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER match_line_freed BEFORE UPDATE ON match_line FOR EACH ROW EXECUTE FUNCTION refuse_part_change();
CREATE TRIGGER match_entry_freed BEFORE UPDATE ON match_entry FOR EACH ROW EXECUTE FUNCTION refuse_part_change();

-- The lines and entries of a match are written with it, all together, are those of its accounts, and add up to its figures.
CREATE FUNCTION refuse_stray_match_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE stray record;
BEGIN
    SELECT i.match_id INTO stray
        FROM (SELECT n.match_id, sum(l.amount_minor) AS lines_minor, max(l.booked_on) AS last_on,
                bool_and((l.source_name, l.account_ref, l.currency_code)
                    IS NOT DISTINCT FROM (a.source_name, a.account_ref, a.currency_code)) AS fits
            FROM inserted n
            JOIN public.statement_match m ON m.match_id = n.match_id
            JOIN public.statement_account a ON a.statement_account_id = m.statement_account_id
            LEFT JOIN public.statement_line l ON l.statement_line_id = n.statement_line_id
            GROUP BY n.match_id) i
        LEFT JOIN public.statement_match m ON m.match_id = i.match_id AND m.xmin = pg_current_xact_id()::xid
        WHERE (i.fits AND m.lines_minor = i.lines_minor AND m.settled_on >= i.last_on) IS NOT TRUE LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the lines of match % are not those that it was made of', stray.match_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'match_line_of_new_match';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER match_line_of_new_match AFTER INSERT ON match_line REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_stray_match_lines();

CREATE FUNCTION refuse_stray_match_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE stray record;
BEGIN
    SELECT i.match_id INTO stray
        FROM (SELECT n.match_id, sum(e.amount_minor) AS entries_minor, min(n.account_id) AS account_id,
                max(n.account_id) AS last_account_id
            FROM inserted n
            LEFT JOIN public.entry e ON e.account_id = n.account_id AND e.entry_number = n.entry_number
            GROUP BY n.match_id) i
        LEFT JOIN public.statement_match m ON m.match_id = i.match_id AND m.xmin = pg_current_xact_id()::xid
        WHERE (m.entries_minor = i.entries_minor AND i.account_id = i.last_account_id AND EXISTS (
            SELECT FROM public.matching_setup s
            WHERE s.statement_account_id = m.statement_account_id AND s.account_id = i.account_id)) IS NOT TRUE
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entries of match % are not those that it was made of', stray.match_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'match_entry_of_new_match';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER match_entry_of_new_match AFTER INSERT ON match_entry REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_stray_match_entries();

GRANT SELECT ON statement_account, matching_setup, match_run, statement_match, match_line, match_entry, match_event,
    unmatched_item TO holdfast_app;
GRANT INSERT ON statement_account TO holdfast_app;
GRANT INSERT (statement_account_id, version, account_id, starts_on, rules, created_by) ON matching_setup TO holdfast_app;
GRANT INSERT (statement_account_id, version, line_count, entry_count, matched_count, suggested_count, covered_through,
    run_by) ON match_run TO holdfast_app;
GRANT INSERT (match_id, statement_account_id, match_run_id, rule, figures, lines_minor, entries_minor, settled_on, state,
    former_match_id, journal_id, made_by) ON statement_match TO holdfast_app;
GRANT UPDATE (state) ON statement_match TO holdfast_app;
GRANT INSERT (match_id, statement_line_id), UPDATE (is_live) ON match_line TO holdfast_app;
GRANT INSERT (match_id, account_id, entry_number), UPDATE (is_live) ON match_entry TO holdfast_app;
GRANT INSERT (match_id, action, actor, reason) ON match_event TO holdfast_app;
GRANT INSERT (statement_account_id, statement_line_id, entry_number, booked_on, amount_minor, other_minor, reason,
    resembles) ON unmatched_item TO holdfast_app;
GRANT UPDATE (entry_number, other_minor, reason, resembles, is_open, break_id, settled_at) ON unmatched_item TO holdfast_app;
GRANT USAGE ON SEQUENCE statement_match_match_id_seq TO holdfast_app;
