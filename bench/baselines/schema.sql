-- The tables of one baseline, in a schema of its own. No foreign keys and no triggers: they would only slow it down.

CREATE TABLE account (
    account_id text PRIMARY KEY,
    currency_code text NOT NULL,
    balance_minor bigint NOT NULL,
    held_minor bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 60);

CREATE TABLE payment (
    payment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id text NOT NULL UNIQUE,
    source_account_id text NOT NULL,
    destination_account_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency_code text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE hold (
    hold_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id text NOT NULL UNIQUE,
    source_account_id text NOT NULL,
    destination_account_id text NOT NULL,
    amount_minor bigint NOT NULL,
    currency_code text NOT NULL,
    captured boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 60);

CREATE TABLE entry (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id bigint NOT NULL,
    account_id text NOT NULL,
    amount_minor bigint NOT NULL
);
CREATE INDEX entry_account ON entry (account_id);
