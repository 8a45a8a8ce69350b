-- Changes of accounts that have begun in the cache, or have frozen the account for a moment, and are not done yet.

CREATE TABLE unfinished_change (
    unfinished_change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    frozen_in bigint,
    former_status text,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT unfinished_change_frozen CHECK ((frozen_in IS NULL) = (former_status IS NULL))
);
COMMENT ON TABLE unfinished_change IS 'State, empty nearly always: what is left here for long was broken off, and is mended by the scheduler.';
COMMENT ON COLUMN unfinished_change.frozen_in IS 'The recorded change that froze the account, where it was frozen to be changed in quiet.';

GRANT SELECT, INSERT, DELETE ON unfinished_change TO holdfast_app;
