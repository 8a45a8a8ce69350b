-- Balance monitors: conditions on accounts, and each time that one began or ceased to hold.

CREATE TABLE balance_monitor (
    monitor_id text COLLATE "C" PRIMARY KEY,
    account_id text COLLATE "C" NOT NULL REFERENCES account,
    measure text NOT NULL CHECK (measure IN ('balance', 'held', 'available')),
    comparison text NOT NULL CHECK (comparison IN ('below', 'above')),
    threshold_minor bigint NOT NULL,
    name text NOT NULL,
    is_met boolean NOT NULL,
    entry_number bigint NOT NULL,
    position bigint NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
) WITH (fillfactor = 60);
CREATE INDEX balance_monitor_of_account ON balance_monitor (account_id) WHERE ended_at IS NULL;
COMMENT ON COLUMN balance_monitor.is_met IS 'Whether the condition holds, by the last event that was looked at.';
COMMENT ON COLUMN balance_monitor.entry_number IS 'With position, up to where the account''s events were looked at.';

CREATE FUNCTION refuse_other_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'monitor % has ended, for good', OLD.monitor_id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'balance_monitor_ended_once';
END $$;
CREATE TRIGGER balance_monitor_ended_once BEFORE UPDATE ON balance_monitor
    FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION refuse_other_end();

CREATE TABLE monitor_crossing (
    crossing_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    monitor_id text COLLATE "C" NOT NULL REFERENCES balance_monitor,
    is_met boolean NOT NULL,
    value_minor bigint NOT NULL,
    account_version bigint NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    crossed_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT monitor_crossing_once UNIQUE (monitor_id, event_id)
);
COMMENT ON TABLE monitor_crossing IS 'Append-only. One row each time that a condition began or ceased to hold, with the event that made it so.';
CREATE TRIGGER monitor_crossing_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON monitor_crossing
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION notice_crossings() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.event_notice (kind, source_id, noted_at, account_id)
    SELECT 'monitor', i.crossing_id::text, i.crossed_at, m.account_id
    FROM inserted i JOIN public.balance_monitor m USING (monitor_id) ORDER BY i.crossing_id;
    RETURN NULL;
END $$;
CREATE TRIGGER monitor_crossing_noticed AFTER INSERT ON monitor_crossing REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION notice_crossings();

GRANT SELECT ON balance_monitor, monitor_crossing TO holdfast_app;
GRANT INSERT (monitor_id, account_id, measure, comparison, threshold_minor, name, is_met, entry_number, position,
    created_by) ON balance_monitor TO holdfast_app;
GRANT UPDATE (is_met, entry_number, position, ended_at) ON balance_monitor TO holdfast_app;
GRANT INSERT (monitor_id, is_met, value_minor, account_version, event_id, crossed_at) ON monitor_crossing
    TO holdfast_app;
