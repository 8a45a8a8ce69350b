-- What was last seen of the cache, so that an older copy, a replica that lagged and an empty cache are noticed.

CREATE TABLE cache_identity (
    partition smallint PRIMARY KEY REFERENCES partition,
    identity text NOT NULL,
    generation bigint NOT NULL,
    opened_at timestamptz,
    server text NOT NULL DEFAULT '',
    last_ms bigint NOT NULL DEFAULT -1,
    last_sequence bigint NOT NULL DEFAULT -1,
    entries_added bigint NOT NULL DEFAULT 0,
    pending bigint NOT NULL DEFAULT 0,
    beat bigint NOT NULL DEFAULT 0,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE cache_identity IS 'State. One row a partition of the cache, since it was first opened.';
COMMENT ON COLUMN cache_identity.identity IS 'The random name that the partition got in the cache when it was last closed.';
COMMENT ON COLUMN cache_identity.opened_at IS 'Empty while the partition is being opened: what was lost by then is on record.';
COMMENT ON COLUMN cache_identity.server IS 'Run id and replication id of the server at the last look.';
COMMENT ON COLUMN cache_identity.last_ms IS 'With last_sequence the last stream id of the outbox at the last look; -1 before the first.';

ALTER TABLE reconciliation_run DROP CONSTRAINT reconciliation_run_mode_check;
ALTER TABLE reconciliation_run ADD CONSTRAINT reconciliation_run_mode_check
    CHECK (mode IN ('incremental', 'full', 'identity'));
COMMENT ON COLUMN reconciliation_run.mode IS 'identity: the cache was found not to be the one it was.';

GRANT SELECT, INSERT, UPDATE ON cache_identity TO holdfast_app;
