-- Currency codes of one's own (points, credits), beside those of ISO 4217, which come from a library's table.

CREATE TABLE asset (
    currency_code text COLLATE "C" PRIMARY KEY,
    minor_units smallint NOT NULL CHECK (minor_units BETWEEN 0 AND 18),
    name text NOT NULL,
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE asset IS 'Append-only: amounts were booked in these minor units, so they never change. None has a code of ISO 4217.';

CREATE TRIGGER asset_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON asset
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Finds the latest changes of accounts without reading what else was audited.
CREATE INDEX audit_event_account_change ON audit_event (audit_event_id) WHERE action = 'account.change';

GRANT SELECT, INSERT ON asset TO holdfast_app;
