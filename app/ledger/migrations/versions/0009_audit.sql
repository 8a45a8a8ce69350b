-- The audit: one record of each call of the API, of each change by a command or the clock, and of each gap in itself.
--
-- A record of a change is written in the transaction of the change; the app gathers the others. The table is partitioned
-- by the month of recording, so that a retention drops whole months and deletes no row. Its partitions are in a schema of
-- their own, which the app's role cannot even name.

CREATE SCHEMA audit;
CREATE SEQUENCE audit_call_number;

CREATE TABLE audit_call (
    number bigint NOT NULL DEFAULT nextval('audit_call_number'),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    called_at timestamptz NOT NULL,
    request_id text COLLATE "C",
    action text,
    actor text,
    key_id text COLLATE "C",
    entity_id text COLLATE "C",
    ip inet,
    method text,
    route text,
    path text,
    status smallint,
    code text,
    duration_us bigint,
    account_id text COLLATE "C",
    payment_id text COLLATE "C",
    external_id text COLLATE "C",
    request text,
    request_bytes bigint,
    response text,
    response_bytes bigint,
    calls bigint NOT NULL DEFAULT 1 CHECK (calls > 0),
    CHECK (octet_length(request) <= 16384 AND octet_length(response) <= 16384)
) PARTITION BY RANGE (recorded_at);
ALTER SEQUENCE audit_call_number OWNED BY audit_call.number;
CREATE INDEX audit_call_in_order ON audit_call (called_at, number);
CREATE INDEX audit_call_request_id ON audit_call (request_id);
CREATE INDEX audit_call_payment_id ON audit_call (payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX audit_call_account_id ON audit_call (account_id, called_at) WHERE account_id IS NOT NULL;
CREATE INDEX audit_call_external_id ON audit_call (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX audit_call_action ON audit_call (action, called_at) WHERE action NOT IN ('payment', 'authorization', 'capture', 'void', 'expiry');

COMMENT ON TABLE audit_call IS 'Append-only. What a payment says in full, the ledger has; a record of one names it by payment_id and keeps only where it came from.';
COMMENT ON COLUMN audit_call.number IS 'Tells records of the same millisecond apart. Numbers may have gaps.';
COMMENT ON COLUMN audit_call.recorded_at IS 'When the recording transaction began, by this server; the app cannot set it.';
COMMENT ON COLUMN audit_call.called_at IS 'When the call arrived, in milliseconds, by the clock of the process that answered it.';
COMMENT ON COLUMN audit_call.action IS 'What was changed, or what the audit says of itself; null where nothing was changed.';
COMMENT ON COLUMN audit_call.actor IS 'Who, where it was no API key; the actor of a key is key:<key_id>.';
COMMENT ON COLUMN audit_call.duration_us IS 'Until the answer, in microseconds; of a change, until it was recorded or accepted.';
COMMENT ON COLUMN audit_call.request IS 'The body, up to 8 KiB, secrets redacted, what is not UTF-8 escaped; request_bytes is its whole length.';
COMMENT ON COLUMN audit_call.calls IS 'How many calls the record stands for: more than one only where calls were counted and not kept one by one.';

CREATE TRIGGER audit_call_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_call
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- After the row, and only for these rows: any other trigger would cost every payment something.
CREATE FUNCTION refuse_record_of_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_has_role(current_user,
        (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = TG_RELID), 'USAGE')
    THEN
        RAISE EXCEPTION 'role % may not record %', current_user, NEW.action
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'audit_call_of_owner';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_call_of_owner AFTER INSERT ON audit_call
    FOR EACH ROW WHEN (NEW.action IN ('audit.month.drop', 'audit.retention.change'))
    EXECUTE FUNCTION refuse_record_of_owner();

-- Whatever no month takes. A posting must never fail because nobody made a partition.
CREATE TABLE audit.call_other PARTITION OF audit_call DEFAULT;
CREATE TRIGGER call_other_guarded BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.call_other
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How long records are kept: the latest row counts, 0 days is for ever. Only the owner writes it.
CREATE TABLE audit_retention (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    days integer NOT NULL CHECK (days >= 0),
    set_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER audit_retention_guarded BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_retention
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Makes the partitions of this month and the coming ones, where they are missing; returns how many. It is attached after
-- it was made, which keeps nobody from writing meanwhile.
CREATE FUNCTION audit_make_months(ahead integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz;
    name text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(477018);
    FOR number IN 0 .. least(greatest(ahead, 0), 24) LOOP
        first := date_trunc('month', now()) + make_interval(months => number);
        name := 'call_' || to_char(first, 'YYYY_MM');
        CONTINUE WHEN to_regclass('audit.' || name) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE TABLE audit.%I (LIKE public.audit_call INCLUDING ALL)', name);
            EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.%I'
                ' FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change()', name || '_guarded', name);
            EXECUTE format('ALTER TABLE public.audit_call ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)',
                name, first, first + interval '1 month');
            made := made + 1;
        EXCEPTION WHEN check_violation THEN
            RAISE WARNING 'records of % are in audit.call_other already and stay there', name;
        END;
    END LOOP;
    RETURN made;
END $$;

-- Drops the months whose last record is older than the retention, and records each in the audit itself; returns how many.
-- What is dropped, only the owner decides: whoever calls this cannot say.
CREATE FUNCTION audit_drop_expired() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    kept_days integer := (SELECT r.days FROM public.audit_retention r ORDER BY r.number DESC LIMIT 1);
    old record;
    dropped integer := 0;
BEGIN
    IF coalesce(kept_days, 0) = 0 THEN
        RETURN 0;
    END IF;
    FOR old IN
        SELECT c.relname AS name, c.reltuples AS records, to_timestamp(substr(c.relname, 6), 'YYYY_MM') AS first
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.audit_call'::regclass AND c.relname ~ '^call_\d{4}_\d\d$'
        ORDER BY c.relname
    LOOP
        CONTINUE WHEN old.first + interval '1 month' > now() - make_interval(days => kept_days);
        EXECUTE format('DROP TABLE audit.%I', old.name);
        INSERT INTO public.audit_call (called_at, actor, action, response) VALUES (
            date_trunc('milliseconds', clock_timestamp()), 'clock', 'audit.month.drop',
            jsonb_build_object('recorded_from', old.first, 'recorded_before', old.first + interval '1 month',
                'retention_days', kept_days,
                'records_about', CASE WHEN old.records >= 0 THEN old.records::bigint END)::text);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

-- Sets the retention, where it is another, and records it. Only the owner may: the app has no right to the table.
CREATE FUNCTION audit_set_retention(wanted integer) RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    former integer := coalesce((SELECT r.days FROM public.audit_retention r ORDER BY r.number DESC LIMIT 1), 0);
BEGIN
    IF former = wanted THEN
        RETURN false;
    END IF;
    INSERT INTO public.audit_retention (days) VALUES (wanted);
    INSERT INTO public.audit_call (called_at, actor, action, response) VALUES (
        date_trunc('milliseconds', clock_timestamp()), 'owner', 'audit.retention.change',
        jsonb_build_object('former_days', former, 'days', wanted)::text);
    RETURN true;
END $$;

REVOKE EXECUTE ON FUNCTION audit_make_months(integer), audit_drop_expired(), audit_set_retention(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_make_months(integer), audit_drop_expired() TO holdfast_app;
GRANT SELECT ON audit_call, audit_retention TO holdfast_app;
GRANT USAGE ON SEQUENCE audit_call_number TO holdfast_app;
GRANT INSERT (called_at, request_id, action, actor, key_id, entity_id, ip, method, route, path, status, code, duration_us,
    account_id, payment_id, external_id, request, request_bytes, response, response_bytes, calls) ON audit_call TO holdfast_app;

SELECT audit_make_months(3);
