-- What a key may reach, for how long, how often, and when it was last used.

ALTER TABLE api_key
    ADD COLUMN entities text[] CONSTRAINT api_key_entities CHECK (cardinality(entities) > 0),
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN rotated_from text COLLATE "C",
    ADD COLUMN rate_per_second integer CONSTRAINT api_key_rate_per_second CHECK (rate_per_second BETWEEN 1 AND 10000),
    ADD COLUMN rate_burst integer CONSTRAINT api_key_rate_burst CHECK (rate_burst BETWEEN 1 AND 100000),
    ADD CONSTRAINT api_key_rate CHECK ((rate_per_second IS NULL) = (rate_burst IS NULL)),
    ADD CONSTRAINT api_key_rotated_once UNIQUE (rotated_from);
COMMENT ON COLUMN api_key.entities IS 'The entities that the key may act for; null is all of them.';
COMMENT ON COLUMN api_key.rotated_from IS 'The key that this one follows. A key has one successor at most.';
COMMENT ON COLUMN api_key.rate_per_second IS 'With rate_burst the limit of its requests; null is none.';

-- Not a column of api_key: the app notes uses, and it has no business with the rows that say what a key may do.
CREATE TABLE api_key_use (
    key_id text COLLATE "C" PRIMARY KEY,
    last_used_at timestamptz NOT NULL
);
COMMENT ON TABLE api_key_use IS 'State. When each key was last used, to the minute.';
GRANT SELECT, INSERT, UPDATE (last_used_at) ON api_key_use TO holdfast_app;

-- A key never comes to reach more, or for longer: whoever needs that makes another one.
CREATE FUNCTION refuse_wider_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'key % may end, or expire earlier; nothing else of it changes', OLD.key_id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'api_key_never_wider';
END $$;
CREATE TRIGGER api_key_never_wider BEFORE UPDATE ON api_key FOR EACH ROW
    WHEN ((OLD.key_id, OLD.name, OLD.secret_hash, OLD.scopes, OLD.entities, OLD.created_at, OLD.rotated_from,
            OLD.rate_per_second, OLD.rate_burst)
        IS DISTINCT FROM (NEW.key_id, NEW.name, NEW.secret_hash, NEW.scopes, NEW.entities, NEW.created_at, NEW.rotated_from,
            NEW.rate_per_second, NEW.rate_burst)
        OR coalesce(NEW.expires_at, 'infinity') > coalesce(OLD.expires_at, 'infinity'))
    EXECUTE FUNCTION refuse_wider_key();

-- The verbs, for the owner. They act with the rights of whoever calls them, and the app has none to write keys.

CREATE FUNCTION make_api_key(actor text, new_id text, new_name text, new_hash bytea, new_scopes text[], new_entities text[],
    new_expires_at timestamptz, new_rate integer, new_burst integer, predecessor text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.api_key (key_id, name, secret_hash, scopes, entities, expires_at, rate_per_second, rate_burst,
            rotated_from, created_at)
        VALUES (new_id, new_name, new_hash, new_scopes, new_entities, new_expires_at, new_rate, new_burst, predecessor,
            clock_timestamp());
    INSERT INTO public.audit_event (actor, action, subject, detail)
        VALUES (actor, 'key.create', new_id, jsonb_strip_nulls(jsonb_build_object('name', new_name, 'scopes', new_scopes,
            'entities', new_entities, 'expires_at', new_expires_at, 'rate_per_second', new_rate, 'rate_burst', new_burst,
            'rotated_from', predecessor)));
    RETURN 'made';
END $$;

CREATE FUNCTION revoke_api_key(actor text, old_id text)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE public.api_key SET revoked_at = clock_timestamp() WHERE key_id = old_id AND revoked_at IS NULL;
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (SELECT FROM public.api_key WHERE key_id = old_id) THEN 'ended' ELSE 'unknown' END;
    END IF;
    INSERT INTO public.audit_event (actor, action, subject, detail) VALUES (actor, 'key.revoke', old_id, '{}');
    RETURN 'revoked';
END $$;

-- The successor is what the key was: name, scopes, entities, limit, and a life as long. The key itself ends after the
-- overlap, or when it would have ended anyway.
CREATE FUNCTION rotate_api_key(actor text, old_id text, new_id text, new_hash bytea, overlap interval)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    old public.api_key;
    began timestamptz := clock_timestamp();
    ends timestamptz;
BEGIN
    SELECT * INTO old FROM public.api_key WHERE key_id = old_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'unknown';
    ELSIF old.revoked_at IS NOT NULL OR old.expires_at <= began THEN
        RETURN 'ended';
    ELSIF EXISTS (SELECT FROM public.api_key WHERE rotated_from = old_id) THEN
        RETURN 'rotated_before';
    END IF;
    PERFORM public.make_api_key(actor, new_id, old.name, new_hash, old.scopes, old.entities,
        began + (old.expires_at - old.created_at), old.rate_per_second, old.rate_burst, old_id);
    ends := least(old.expires_at, began + overlap);
    UPDATE public.api_key SET expires_at = ends WHERE key_id = old_id;
    INSERT INTO public.audit_event (actor, action, subject, detail)
        VALUES (actor, 'key.rotate', old_id, jsonb_build_object('successor', new_id, 'expires_at', ends));
    RETURN 'rotated';
END $$;

REVOKE EXECUTE ON FUNCTION make_api_key, revoke_api_key, rotate_api_key FROM PUBLIC;

-- The same for an API key with the scope admin, through the app's connection.
--
-- These functions act with the owner's rights, and whoever has the app's connection can call them. So the connection alone
-- must not be enough: each wants the secret of an active admin key, and the database itself holds it against the hash.
-- The app has the secret only while it serves a request of that key. Whoever can read the table knows the hashes, from
-- which no secret follows. A refusal is an answer and no error, so that no log of errors gets the parameters.

CREATE FUNCTION administrator_of(caller_id text, caller_secret text)
RETURNS public.api_key LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT k FROM public.api_key k
    WHERE k.key_id = caller_id AND k.secret_hash = sha256(convert_to(caller_secret, 'UTF8')) AND 'admin' = ANY (k.scopes)
        AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
$$;

-- A key of some entities administers those keys only that reach none beside them.
CREATE FUNCTION is_within(inner_entities text[], outer_entities text[])
RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT outer_entities IS NULL OR coalesce(inner_entities <@ outer_entities, false)
$$;

CREATE FUNCTION make_api_key_as(caller_id text, caller_secret text, new_id text, new_name text, new_hash bytea,
    new_scopes text[], new_entities text[], new_expires_at timestamptz, new_rate integer, new_burst integer)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    caller public.api_key := public.administrator_of(caller_id, caller_secret);
BEGIN
    IF caller.key_id IS NULL THEN
        RETURN 'not_administrator';
    ELSIF NOT public.is_within(new_entities, caller.entities) THEN
        RETURN 'beyond_entities';
    END IF;
    RETURN public.make_api_key('key:' || caller.key_id, new_id, new_name, new_hash, new_scopes, new_entities,
        new_expires_at, new_rate, new_burst);
END $$;

CREATE FUNCTION revoke_api_key_as(caller_id text, caller_secret text, old_id text)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    caller public.api_key := public.administrator_of(caller_id, caller_secret);
BEGIN
    IF caller.key_id IS NULL THEN
        RETURN 'not_administrator';
    ELSIF NOT EXISTS (SELECT FROM public.api_key k
        WHERE k.key_id = old_id AND public.is_within(k.entities, caller.entities))
    THEN
        RETURN 'unknown';
    END IF;
    RETURN public.revoke_api_key('key:' || caller.key_id, old_id);
END $$;

CREATE FUNCTION rotate_api_key_as(caller_id text, caller_secret text, old_id text, new_id text, new_hash bytea,
    overlap interval)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    caller public.api_key := public.administrator_of(caller_id, caller_secret);
BEGIN
    IF caller.key_id IS NULL THEN
        RETURN 'not_administrator';
    ELSIF NOT EXISTS (SELECT FROM public.api_key k
        WHERE k.key_id = old_id AND public.is_within(k.entities, caller.entities))
    THEN
        RETURN 'unknown';
    END IF;
    RETURN public.rotate_api_key('key:' || caller.key_id, old_id, new_id, new_hash, overlap);
END $$;

REVOKE EXECUTE ON FUNCTION administrator_of, is_within, make_api_key_as, revoke_api_key_as, rotate_api_key_as FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_api_key_as, revoke_api_key_as, rotate_api_key_as TO holdfast_app;
