-- Keys administered by people with the role admin, on the pages.
--
-- The pages work with the app's role, which must not be able to make a key by itself. As for admin keys (0011), the
-- functions act with the owner's rights and want a secret that the app has only while it serves a request: a proof, which
-- follows from the person's password alone, by a slow hash. The ledger keeps the SHA-256 of the proof. From that follows no
-- proof, and neither does it follow from password_hash, which is made with another salt.

ALTER TABLE app_user ADD COLUMN key_proof bytea CHECK (length(key_proof) = 32);
COMMENT ON COLUMN app_user.key_proof IS 'SHA-256 of the proof with which this person administers keys; set with the password, when an invitation is taken up.';

CREATE TRIGGER app_user_proof_invited BEFORE UPDATE ON app_user
    FOR EACH ROW WHEN (NEW.key_proof IS DISTINCT FROM OLD.key_proof
        AND (OLD.invitation_hash IS NOT NULL AND OLD.invitation_expires_at > clock_timestamp()
            AND OLD.disabled_at IS NULL AND NEW.invitation_hash IS NULL) IS NOT TRUE
        AND NOT is_of_owner('app_user'::regclass))
    EXECUTE FUNCTION refuse_uninvited();
GRANT UPDATE (key_proof) ON app_user TO holdfast_app;

CREATE FUNCTION is_key_administrator(person text, proof bytea)
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM public.app_user u
        WHERE u.user_id = person AND u.key_proof = sha256(proof) AND u.role = 'admin' AND u.disabled_at IS NULL)
$$;

CREATE FUNCTION make_api_key_by(person text, proof bytea, new_id text, new_name text, new_hash bytea, new_scopes text[],
    new_entities text[], new_expires_at timestamptz, new_rate integer, new_burst integer)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF public.is_key_administrator(person, proof) IS NOT TRUE THEN
        RETURN 'not_administrator';
    END IF;
    RETURN public.make_api_key('user:' || person, new_id, new_name, new_hash, new_scopes, new_entities, new_expires_at,
        new_rate, new_burst);
END $$;

CREATE FUNCTION revoke_api_key_by(person text, proof bytea, old_id text)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF public.is_key_administrator(person, proof) IS NOT TRUE THEN
        RETURN 'not_administrator';
    END IF;
    RETURN public.revoke_api_key('user:' || person, old_id);
END $$;

CREATE FUNCTION rotate_api_key_by(person text, proof bytea, old_id text, new_id text, new_hash bytea, overlap interval)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF public.is_key_administrator(person, proof) IS NOT TRUE THEN
        RETURN 'not_administrator';
    END IF;
    RETURN public.rotate_api_key('user:' || person, old_id, new_id, new_hash, overlap);
END $$;

REVOKE EXECUTE ON FUNCTION is_key_administrator, make_api_key_by, revoke_api_key_by, rotate_api_key_by FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_api_key_by, revoke_api_key_by, rotate_api_key_by TO holdfast_app;
