-- The people who use the pages: who they are, how they sign in, and where they are signed in.
--
-- As with API keys, only the owner makes users, gives them a role, disables them and invites them. The app's role may do
-- what a person does alone: take up an invitation, set up a second factor, sign in and out.

CREATE TABLE app_user (
    user_id text COLLATE "C" PRIMARY KEY CHECK (user_id ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    role text NOT NULL CHECK (role IN ('viewer', 'accountant', 'controller', 'admin')),
    password_hash text,
    totp_secret text,
    totp_counter bigint NOT NULL DEFAULT 0,
    oidc_issuer text,
    oidc_subject text,
    invitation_hash bytea,
    invitation_expires_at timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at timestamptz,
    CONSTRAINT app_user_oidc UNIQUE (oidc_issuer, oidc_subject),
    CHECK ((invitation_hash IS NULL) = (invitation_expires_at IS NULL)),
    CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL))
);
COMMENT ON COLUMN app_user.totp_counter IS 'The last time step whose code was used: a code counts once.';
COMMENT ON COLUMN app_user.invitation_hash IS 'SHA-256 of the one-time link with which the person sets a password or names an account of the organisation.';

CREATE FUNCTION refuse_uninvited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'user % has no invitation that this change could take up', NEW.user_id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'app_user_invited';
END $$;
CREATE FUNCTION is_of_owner(relation oid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT pg_has_role(current_user, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = relation), 'USAGE')
$$;
CREATE TRIGGER app_user_invitation_made BEFORE UPDATE ON app_user
    FOR EACH ROW WHEN (NEW.invitation_hash IS NOT NULL AND NEW.invitation_hash IS DISTINCT FROM OLD.invitation_hash
        AND NOT is_of_owner('app_user'::regclass))
    EXECUTE FUNCTION refuse_uninvited();
CREATE TRIGGER app_user_invited BEFORE UPDATE ON app_user
    FOR EACH ROW WHEN ((NEW.password_hash, NEW.oidc_issuer, NEW.oidc_subject)
            IS DISTINCT FROM (OLD.password_hash, OLD.oidc_issuer, OLD.oidc_subject)
        AND (OLD.invitation_hash IS NOT NULL AND OLD.invitation_expires_at > clock_timestamp()
            AND OLD.disabled_at IS NULL AND NEW.invitation_hash IS NULL) IS NOT TRUE
        AND NOT is_of_owner('app_user'::regclass))
    EXECUTE FUNCTION refuse_uninvited();

GRANT SELECT ON app_user TO holdfast_app;
GRANT UPDATE (password_hash, totp_secret, totp_counter, oidc_issuer, oidc_subject, invitation_hash,
    invitation_expires_at) ON app_user TO holdfast_app;

CREATE TABLE user_session (
    session_hash bytea PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL REFERENCES app_user,
    method text NOT NULL CHECK (method IN ('password', 'organisation')),
    client text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX user_session_open ON user_session (user_id) WHERE ended_at IS NULL;
COMMENT ON COLUMN user_session.session_hash IS 'SHA-256 of what the cookie holds.';

CREATE FUNCTION refuse_resumption() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a session of user % has ended, for good', OLD.user_id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'user_session_ended_once';
END $$;
CREATE TRIGGER user_session_ended_once BEFORE UPDATE ON user_session
    FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION refuse_resumption();
CREATE TRIGGER user_session_kept BEFORE DELETE OR TRUNCATE ON user_session
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON user_session TO holdfast_app;
GRANT UPDATE (seen_at, ended_at) ON user_session TO holdfast_app;

CREATE TABLE sign_in_try (
    name_hash bytea PRIMARY KEY,
    failures integer NOT NULL,
    next_try_at timestamptz NOT NULL,
    last_try_at timestamptz NOT NULL
);
CREATE INDEX sign_in_try_last ON sign_in_try (last_try_at);
COMMENT ON TABLE sign_in_try IS 'State: failed tries by name, whether or not there is such a user. A success and a day of rest forget them.';

GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_try TO holdfast_app;

-- What signs the cookie of forms: a random value that all processes share.
CREATE TABLE page_secret (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    secret bytea NOT NULL
);
INSERT INTO page_secret (secret)
    VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
GRANT SELECT ON page_secret TO holdfast_app;

-- Events of users are the owner's, as those of keys are.
CREATE FUNCTION refuse_user_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'role % may not record %', current_user, NEW.action
        USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'audit_event_of_owner';
END $$;
CREATE TRIGGER audit_event_of_users BEFORE INSERT ON audit_event
    FOR EACH ROW WHEN (NEW.action LIKE 'user.%' AND NOT is_of_owner('audit_event'::regclass))
    EXECUTE FUNCTION refuse_user_event();
CREATE TRIGGER audit_call_of_users AFTER INSERT ON audit_call
    FOR EACH ROW WHEN (NEW.action LIKE 'user.%') EXECUTE FUNCTION refuse_record_of_owner();

-- The lists of accounts: each filter reads its rows in the order of the list.
CREATE INDEX account_of_entity ON account (entity_id, account_id);
CREATE INDEX account_of_type ON account (type, account_id);
CREATE INDEX account_of_currency ON account (currency_code, account_id);
CREATE INDEX account_not_open ON account (status, account_id) WHERE status <> 'open';

-- Reports ask for the newest account, and for those made since. Balances change without touching it.
CREATE UNIQUE INDEX account_balance_row ON account_balance (id);

-- Every page names the last full run.
CREATE INDEX reconciliation_run_full ON reconciliation_run (run_id) WHERE mode = 'full';
