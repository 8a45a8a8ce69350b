-- What the outside says: sources, the files imported from them, their statements and lines, and what is wrong with them.
-- All of it is a record: it is appended to and never changed. A source that changes gets another version.

CREATE TABLE statement_source (
    name text COLLATE "C" NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    format text NOT NULL CHECK (format IN ('stripe', 'camt', 'mt940', 'ofx', 'csv')),
    options jsonb NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, version)
);
COMMENT ON TABLE statement_source IS 'Append-only. The newest version of a source reads its next file.';

CREATE TABLE statement_import (
    import_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_name text COLLATE "C" NOT NULL,
    source_version integer NOT NULL,
    file_hash bytea NOT NULL CHECK (length(file_hash) = 32),
    file_name text NOT NULL,
    file_bytes bigint NOT NULL,
    line_count bigint NOT NULL,
    added_count bigint NOT NULL,
    known_count bigint NOT NULL,
    refused_count bigint NOT NULL,
    imported_by text NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT statement_import_once UNIQUE (source_name, source_version, file_hash),
    FOREIGN KEY (source_name, source_version) REFERENCES statement_source (name, version)
);
COMMENT ON TABLE statement_import IS 'Append-only. One file, read once with one version of its source.';
COMMENT ON COLUMN statement_import.known_count IS 'Lines of the file that an earlier file, or an earlier line of it, has brought.';

CREATE TABLE statement (
    statement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    import_id bigint NOT NULL REFERENCES statement_import (import_id),
    source_name text COLLATE "C" NOT NULL,
    account_ref text COLLATE "C" NOT NULL,
    currency_code text COLLATE "C" NOT NULL,
    minor_units smallint NOT NULL CHECK (minor_units BETWEEN 0 AND 18),
    name text NOT NULL,
    first_on date,
    last_on date,
    opening_minor bigint,
    opening_on date,
    closing_minor bigint,
    closing_on date,
    line_count bigint NOT NULL,
    lines_minor numeric(30) NOT NULL,
    added_count bigint NOT NULL,
    added_minor numeric(30) NOT NULL,
    refused_count bigint NOT NULL,
    not_booked_count bigint NOT NULL,
    page_count bigint NOT NULL,
    proof text NOT NULL CHECK (proof IN ('proven', 'differs', 'not_provable')),
    difference_minor numeric(30),
    missing text NOT NULL
);
CREATE INDEX statement_of_import ON statement (import_id);
CREATE INDEX statement_of_account ON statement (source_name, account_ref, statement_id);
COMMENT ON TABLE statement IS 'Append-only. What a bank states for one account: balances and the sum of all lines of the file.';
COMMENT ON COLUMN statement.added_count IS 'Lines that no earlier statement had: they are in statement_line under this one.';
COMMENT ON COLUMN statement.missing IS 'Why the statement cannot be proven.';

CREATE TABLE statement_line (
    statement_line_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement_id bigint NOT NULL REFERENCES statement (statement_id),
    source_name text COLLATE "C" NOT NULL,
    account_ref text COLLATE "C" NOT NULL,
    currency_code text COLLATE "C" NOT NULL,
    line bigint NOT NULL,
    position bigint NOT NULL,
    booked_on date NOT NULL,
    value_on date,
    amount_minor bigint NOT NULL CHECK (amount_minor BETWEEN -9007199254740991 AND 9007199254740991),
    line_id text COLLATE "C",
    kind text NOT NULL,
    reference text COLLATE "C" NOT NULL,
    counterparty text NOT NULL,
    text text NOT NULL,
    details jsonb NOT NULL,
    identity bytea NOT NULL,
    ordinal integer NOT NULL CHECK (ordinal > 0),
    content bytea NOT NULL,
    CONSTRAINT statement_line_once UNIQUE (identity, ordinal)
);
CREATE INDEX statement_line_of_statement ON statement_line (statement_id, statement_line_id);
CREATE INDEX statement_line_of_day ON statement_line (source_name, account_ref, booked_on);
COMMENT ON TABLE statement_line IS 'Append-only. A movement as the bank states it; money in is positive.';
COMMENT ON COLUMN statement_line.identity IS 'Hash of source, account and id; without an id, of source, account, statement where the format numbers them, and content.';
COMMENT ON COLUMN statement_line.ordinal IS 'Tells apart lines without an id that are equal in everything: the first, the second.';

CREATE TABLE statement_batch (
    statement_line_id bigint PRIMARY KEY REFERENCES statement_line (statement_line_id),
    batch_id text COLLATE "C" NOT NULL,
    import_id bigint NOT NULL REFERENCES statement_import (import_id)
);
CREATE INDEX statement_batch_lines ON statement_batch (batch_id);
COMMENT ON TABLE statement_batch IS 'Append-only. The payout or batch booking that a line is part of, which a later file may tell first.';

CREATE TABLE statement_break (
    statement_break_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    import_id bigint NOT NULL REFERENCES statement_import (import_id),
    statement_id bigint REFERENCES statement (statement_id),
    kind text NOT NULL CHECK (kind IN ('line_refused', 'id_reused', 'balance_differs', 'payout_differs')),
    line bigint NOT NULL,
    position bigint NOT NULL,
    detail text NOT NULL,
    figures jsonb NOT NULL
);
CREATE INDEX statement_break_of_import ON statement_break (import_id);
COMMENT ON TABLE statement_break IS 'Append-only. What is wrong with an imported file: by line, position and cause.';

DO $$
DECLARE append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY['statement_source', 'statement_import', 'statement', 'statement_line',
        'statement_batch', 'statement_break']
    LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            append_only || '_append_only', append_only);
    END LOOP;
END $$;

-- The lines of a statement are written once, all together, by the transaction that writes the statement: nobody slips
-- one in later, and the statement's own figures say how many there are and what they add up to.
CREATE FUNCTION refuse_stray_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE stray record;
BEGIN
    SELECT i.statement_id INTO stray
        FROM (SELECT statement_id, count(*) AS lines, sum(amount_minor) AS added_minor,
                min(account_ref) AS account_ref, max(account_ref) AS last_account_ref,
                min(currency_code) AS currency_code, max(currency_code) AS last_currency_code
            FROM inserted GROUP BY statement_id) i
        LEFT JOIN public.statement s ON s.statement_id = i.statement_id AND s.xmin = pg_current_xact_id()::xid
        WHERE (s.added_count = i.lines AND s.added_minor = i.added_minor
            AND s.account_ref = i.account_ref AND s.account_ref = i.last_account_ref
            AND s.currency_code = i.currency_code AND s.currency_code = i.last_currency_code) IS NOT TRUE
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the lines of statement % are not those that it was written with', stray.statement_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'statement_line_of_new_statement';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER statement_line_of_new_statement AFTER INSERT ON statement_line REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_stray_lines();

GRANT SELECT ON statement_source, statement_import, statement, statement_line, statement_batch, statement_break
    TO holdfast_app;
GRANT INSERT ON statement, statement_line, statement_batch, statement_break TO holdfast_app;
-- Their times are the database's.
GRANT INSERT (name, version, format, options, created_by) ON statement_source TO holdfast_app;
GRANT INSERT (source_name, source_version, file_hash, file_name, file_bytes, line_count, added_count, known_count,
    refused_count, imported_by) ON statement_import TO holdfast_app;
