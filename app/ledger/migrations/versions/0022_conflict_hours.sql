-- How often and how long postings waited for each other, by account and hour. These are counters and no record: like
-- conflict_count they are changed and, after a month, deleted; no figure of the books depends on them.

CREATE TABLE conflict_hour (
    hour timestamptz NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    retries bigint NOT NULL DEFAULT 0,
    exhausted bigint NOT NULL DEFAULT 0,
    queued_us bigint NOT NULL DEFAULT 0,
    longest_us bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, account_id)
);
COMMENT ON TABLE conflict_hour IS 'Counters, kept for a month, of a bounded number of accounts an hour; those of further ones are added up under (others).';
COMMENT ON COLUMN conflict_hour.queued_us IS 'How long postings waited for the account in this hour, in microseconds, in all; longest_us is the longest wait.';

GRANT SELECT, INSERT, DELETE ON conflict_hour TO holdfast_app;
GRANT UPDATE (retries, exhausted, queued_us, longest_us) ON conflict_hour TO holdfast_app;
