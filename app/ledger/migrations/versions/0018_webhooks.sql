-- Webhooks: who is told of events, how far each has been told, and every attempt.
--
-- A delivery that goes well leaves one row, its attempt. Only what could not be delivered has a row of its own until it
-- is, or until its time is up.

CREATE TABLE webhook_endpoint (
    endpoint_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    url text NOT NULL,
    types text[],
    account_id text COLLATE "C",
    entities text[],
    is_ordered boolean NOT NULL,
    state text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled', 'gone', 'deleted')),
    position bigint NOT NULL,
    part bigint NOT NULL,
    slot bigint NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 60);
COMMENT ON COLUMN webhook_endpoint.state IS 'gone: it has answered 410. deleted is for good.';
COMMENT ON COLUMN webhook_endpoint.entities IS 'Whose events it gets: those of the key that made it; null is all.';
COMMENT ON COLUMN webhook_endpoint.position IS 'With part and slot the cursor: each event up to it was delivered, or waits in webhook_waiting.';

CREATE FUNCTION refuse_undeletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'endpoint % was deleted, for good', OLD.endpoint_id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'webhook_endpoint_deleted_once';
END $$;
CREATE TRIGGER webhook_endpoint_deleted_once BEFORE UPDATE ON webhook_endpoint
    FOR EACH ROW WHEN (OLD.state = 'deleted') EXECUTE FUNCTION refuse_undeletion();

CREATE TABLE webhook_secret (
    secret_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id text COLLATE "C" NOT NULL REFERENCES webhook_endpoint,
    secret text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz
);
CREATE INDEX webhook_secret_of_endpoint ON webhook_secret (endpoint_id, secret_id);
COMMENT ON TABLE webhook_secret IS 'What messages are signed with: with every one that has not expired. In clear, because signing needs it.';

CREATE TABLE webhook_waiting (
    endpoint_id text COLLATE "C" NOT NULL REFERENCES webhook_endpoint,
    position bigint NOT NULL,
    part bigint NOT NULL,
    slot bigint NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    event_type text NOT NULL,
    account_ids text[] NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_at timestamptz NOT NULL,
    dead_at timestamptz,
    last_failure text NOT NULL DEFAULT '',
    PRIMARY KEY (endpoint_id, position, part, slot)
);
CREATE INDEX webhook_waiting_dead ON webhook_waiting (endpoint_id, dead_at) WHERE dead_at IS NOT NULL;
COMMENT ON TABLE webhook_waiting IS 'State: what is to be tried again, or in an ordered endpoint waits for an earlier event of its accounts.';
COMMENT ON COLUMN webhook_waiting.dead_at IS 'When it was given up; it is tried again only when somebody asks for it.';
COMMENT ON COLUMN webhook_waiting.first_at IS 'From when on its three days count: when it first failed, or was asked for again.';

CREATE TABLE webhook_attempt (
    attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    event_type text NOT NULL,
    sequence text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    url text NOT NULL,
    started_at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    status smallint,
    answer text NOT NULL,
    is_delivered boolean NOT NULL,
    CHECK (octet_length(answer) <= 4096)
);
CREATE INDEX webhook_attempt_of_endpoint ON webhook_attempt (endpoint_id, attempt_id);
CREATE INDEX webhook_attempt_of_event ON webhook_attempt (event_id);
COMMENT ON TABLE webhook_attempt IS 'Append-only. Each attempt to deliver an event: where to, when, how it was answered.';
COMMENT ON COLUMN webhook_attempt.answer IS 'The start of the answer, or why there was none.';
CREATE TRIGGER webhook_attempt_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON webhook_attempt
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT ON webhook_endpoint, webhook_secret, webhook_waiting, webhook_attempt TO holdfast_app;
GRANT INSERT (endpoint_id, name, url, types, account_id, entities, is_ordered, position, part, slot, created_by)
    ON webhook_endpoint TO holdfast_app;
GRANT UPDATE (name, url, types, state, position, part, slot) ON webhook_endpoint TO holdfast_app;
GRANT INSERT (endpoint_id, secret), UPDATE (expires_at) ON webhook_secret TO holdfast_app;
GRANT INSERT, UPDATE, DELETE ON webhook_waiting TO holdfast_app;
GRANT INSERT ON webhook_attempt TO holdfast_app;
