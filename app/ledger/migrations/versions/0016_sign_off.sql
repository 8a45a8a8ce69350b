-- Sign-off: the summary of a period as a controller has signed it. Each record names the hash of the one before it.

CREATE TABLE sign_off (
    sign_off_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement_account_id bigint NOT NULL REFERENCES statement_account (statement_account_id),
    number integer NOT NULL CHECK (number > 0),
    action text NOT NULL CHECK (action IN ('signed', 'reopened')),
    first_on date NOT NULL,
    last_on date NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    former_id bigint REFERENCES sign_off (sign_off_id),
    signed_through date,
    summary text NOT NULL,
    reason text NOT NULL,
    signed_by text NOT NULL,
    signed_at timestamptz NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    CONSTRAINT sign_off_number UNIQUE (statement_account_id, number),
    CHECK (first_on <= last_on),
    CHECK (action = 'signed' OR (former_id IS NOT NULL AND reason <> '')),
    CHECK (action = 'reopened' OR signed_through = last_on)
);
COMMENT ON TABLE sign_off IS 'Append-only. The last record of an account says through which day it is signed off.';
COMMENT ON COLUMN sign_off.former_id IS 'Of a new version: the version that it takes the place of; of a reopening: what it reopens.';
COMMENT ON COLUMN sign_off.summary IS 'JSON, as text: it is hashed, so it must come back as it went in.';

CREATE TRIGGER sign_off_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sign_off
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_unchained_sign_off() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE former record;
BEGIN
    SELECT s.number, s.hash, s.action, s.signed_through INTO former FROM public.sign_off s
        WHERE s.statement_account_id = NEW.statement_account_id ORDER BY s.number DESC LIMIT 1;
    IF NEW.number <> coalesce(former.number, 0) + 1 OR NEW.previous_hash <> coalesce(former.hash, '')
        OR (NEW.action = 'signed' AND NEW.first_on <= former.signed_through)
        OR (NEW.action = 'reopened' AND NEW.last_on IS DISTINCT FROM former.signed_through) THEN
        RAISE EXCEPTION 'sign-off % of account % does not follow the one before it', NEW.number, NEW.statement_account_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'sign_off_chained';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER sign_off_chained BEFORE INSERT ON sign_off FOR EACH ROW EXECUTE FUNCTION refuse_unchained_sign_off();

-- What lies within a signed period stays as it was signed.
CREATE FUNCTION refuse_frozen_match() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE frozen record;
BEGIN
    SELECT c.match_id, s.signed_through INTO frozen
        FROM (SELECT DISTINCT statement_account_id FROM changed) a
        CROSS JOIN LATERAL (SELECT o.signed_through FROM public.sign_off o
            WHERE o.statement_account_id = a.statement_account_id ORDER BY o.number DESC LIMIT 1) s
        JOIN changed c ON c.statement_account_id = a.statement_account_id AND c.settled_on <= s.signed_through
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'match % lies within what is signed off through %', frozen.match_id, frozen.signed_through
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'statement_match_signed_off';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER statement_match_not_made_signed_off AFTER INSERT ON statement_match REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_frozen_match();
CREATE TRIGGER statement_match_not_changed_signed_off AFTER UPDATE ON statement_match REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_frozen_match();

GRANT SELECT ON sign_off TO holdfast_app;
GRANT INSERT (statement_account_id, number, action, first_on, last_on, version, former_id, signed_through, summary, reason,
    signed_by, signed_at, previous_hash, hash) ON sign_off TO holdfast_app;
