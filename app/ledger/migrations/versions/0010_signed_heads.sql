-- Heads that are signed, so that whoever keeps a copy outside of the database convicts a history rewritten since. Nothing
-- here is touched by a posting: trees grow and heads are signed afterwards, from committed transactions.

CREATE TABLE ledger_identity (
    ledger_id text COLLATE "C" PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ledger_identity IS 'One row. The random name of this ledger, which heads and packets carry; a restored copy keeps it.';
INSERT INTO ledger_identity (ledger_id) VALUES (gen_random_uuid()::text);
CREATE TRIGGER ledger_identity_fixed BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ledger_identity
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE signing_key (
    key_id text COLLATE "C" PRIMARY KEY,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    introduced_at timestamptz NOT NULL,
    endorsed_by text COLLATE "C" REFERENCES signing_key,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64)
);
COMMENT ON TABLE signing_key IS 'Append-only. Public keys; private ones never come here. Each but the first is signed by an older one, unless the owner says that the older ones are lost.';

CREATE FUNCTION refuse_unendorsed_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.endorsed_by IS NULL AND EXISTS (SELECT FROM public.signing_key k WHERE k.key_id <> NEW.key_id)
            AND NOT pg_has_role(current_user, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = TG_RELID), 'USAGE'))
        OR NEW.key_id <> left(encode(pg_catalog.sha256(NEW.public_key), 'hex'), 32)
        OR NEW.introduced_at NOT BETWEEN clock_timestamp() - interval '10 minutes' AND clock_timestamp() + interval '10 minutes'
    THEN
        RAISE EXCEPTION 'key % is not endorsed by an older one, has another id, or is dated wrongly', NEW.key_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'signing_key_endorsed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER signing_key_endorsed BEFORE INSERT ON signing_key FOR EACH ROW EXECUTE FUNCTION refuse_unendorsed_key();

CREATE TABLE signed_head (
    signed_head_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition smallint NOT NULL,
    chain_seq bigint NOT NULL CHECK (chain_seq >= 0),
    chain_hash bytea NOT NULL,
    merkle_root bytea NOT NULL CHECK (octet_length(merkle_root) = 32),
    signed_at timestamptz NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 64)
);
CREATE INDEX signed_head_of_chain ON signed_head (partition, chain_seq, signed_head_id);
COMMENT ON TABLE signed_head IS 'Append-only. What each chain was when its head was signed; `verify` compares every one of them with the chains.';
COMMENT ON COLUMN signed_head.signed_at IS 'Whole milliseconds, as in the text that is signed.';

CREATE FUNCTION refuse_unfounded_signed_head() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.chain_seq > 0 AND NOT EXISTS (SELECT FROM public.ledger_transaction t
            WHERE t.partition = NEW.partition AND t.chain_seq = NEW.chain_seq AND t.hash = NEW.chain_hash))
        OR NOT EXISTS (SELECT FROM public.signing_key k WHERE k.key_id = NEW.key_id)
        OR NEW.signed_at NOT BETWEEN clock_timestamp() - interval '10 minutes' AND clock_timestamp() + interval '10 minutes'
    THEN
        RAISE EXCEPTION 'chain % has no transaction % with this hash, or its head is signed with an unknown key or at a wrong time',
            NEW.partition, NEW.chain_seq
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'signed_head_founded';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER signed_head_founded BEFORE INSERT ON signed_head
    FOR EACH ROW EXECUTE FUNCTION refuse_unfounded_signed_head();

CREATE TABLE merkle_subtree (
    partition smallint NOT NULL,
    level smallint NOT NULL CHECK (level IN (8, 16, 24, 32, 40, 48)),
    number bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (partition, level, number)
);
COMMENT ON TABLE merkle_subtree IS 'Append-only. Roots of the complete subtrees of 2^level transactions of a chain, hashed as in RFC 6962; a complete subtree never changes.';

CREATE FUNCTION merkle_fold(nodes bytea[]) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE left_over integer := cardinality(nodes);
BEGIN
    WHILE left_over > 1 LOOP
        left_over := left_over / 2;
        FOR i IN 1..left_over LOOP
            nodes[i] := pg_catalog.sha256('\x01'::bytea || nodes[2 * i - 1] || nodes[2 * i]);
        END LOOP;
    END LOOP;
    RETURN nodes[1];
END $$;

-- The database computes each node again, so whoever has the app's connection can plant no wrong one before its time.
CREATE FUNCTION refuse_unfounded_subtree() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE nodes bytea[];
BEGIN
    IF NEW.level = 8 THEN
        SELECT array_agg(pg_catalog.sha256('\x00'::bytea || t.hash) ORDER BY t.chain_seq) INTO nodes
            FROM public.ledger_transaction t WHERE t.partition = NEW.partition
            AND t.chain_seq > NEW.number * 256 AND t.chain_seq <= (NEW.number + 1) * 256;
    ELSE
        SELECT array_agg(s.hash ORDER BY s.number) INTO nodes
            FROM public.merkle_subtree s WHERE s.partition = NEW.partition AND s.level = NEW.level - 8
            AND s.number >= NEW.number * 256 AND s.number < (NEW.number + 1) * 256;
    END IF;
    IF (cardinality(nodes) = 256 AND public.merkle_fold(nodes) = NEW.hash) IS NOT TRUE THEN
        RAISE EXCEPTION 'subtree % of level % of chain % has another root, or is not complete', NEW.number, NEW.level, NEW.partition
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'merkle_subtree_founded';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER merkle_subtree_founded BEFORE INSERT ON merkle_subtree
    FOR EACH ROW EXECUTE FUNCTION refuse_unfounded_subtree();

DO $$
DECLARE append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY['signing_key', 'signed_head', 'merkle_subtree']
    LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            append_only || '_append_only', append_only);
    END LOOP;
END $$;

GRANT SELECT ON ledger_identity TO holdfast_app;
GRANT SELECT, INSERT ON signing_key, signed_head, merkle_subtree TO holdfast_app;
