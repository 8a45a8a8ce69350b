-- The currencies of ISO 4217 that accounts are kept in, as they were when the first account was made in them. The standard
-- changes and so does the library's table; what was booked keeps its meaning.

CREATE TABLE used_currency (
    currency_code text COLLATE "C" PRIMARY KEY,
    minor_units smallint NOT NULL CHECK (minor_units BETWEEN 0 AND 18),
    name text NOT NULL,
    first_used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE used_currency IS 'Append-only, and stronger than any later table of ISO 4217. Registered assets are in their own table.';

CREATE TRIGGER used_currency_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON used_currency
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON used_currency TO holdfast_app;
