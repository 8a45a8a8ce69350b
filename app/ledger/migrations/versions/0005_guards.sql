-- Guards against the app's own role: whoever has its connection may append, but only what fits together.
--
-- The statement triggers look at their transition tables and at one row a touched partition, so a batch pays for them
-- once. They name tables with their schema: an unqualified name would find a temporary table of the session first.
-- Without sequential scans they read single rows by an index; under SERIALIZABLE a scan of a small table would count as
-- reading all of it, and two drains would abort each other.
--
-- A broken chain is reported as object_not_in_prerequisite_state: nothing posts and payments wait. A check_violation
-- would say that one payment is at fault, and the drain would reject it.

-- The chain

-- Backwards, so that each chain begins with what must be its head. A loop: for one payment, a window would cost twice as much.
CREATE FUNCTION refuse_unchained() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    one record;
    chain smallint;
    next_seq bigint;
    next_names bytea;
    next_posted_at timestamptz;
    head bigint;
    fits boolean;
BEGIN
    FOR one IN SELECT i.partition, i.chain_seq, i.hash, i.previous_hash, i.posted_at FROM inserted i
        ORDER BY i.partition, i.chain_seq DESC
    LOOP
        IF one.partition = chain THEN
            fits := one.chain_seq = next_seq - 1 AND one.hash = next_names AND one.posted_at <= next_posted_at;
        ELSE
            chain := one.partition;
            SELECT p.chain_seq INTO head FROM public.partition p WHERE p.partition = chain;
            fits := one.chain_seq = head;
        END IF;
        IF fits IS NOT TRUE THEN
            RAISE EXCEPTION 'transaction %/% does not lead to the next one, or to the head of its chain, %',
                one.partition, one.chain_seq, head
                USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'ledger_transaction_chained';
        END IF;
        next_seq := one.chain_seq;
        next_names := one.previous_hash;
        next_posted_at := one.posted_at;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_transaction_chained AFTER INSERT ON ledger_transaction REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unchained();

-- Looks at both ends of what a head passed; what is between them, the guard of the transactions has looked at.
CREATE FUNCTION refuse_unfounded_head() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    first record;
    last record;
BEGIN
    SELECT t.previous_hash, t.hash, t.posted_at, EXISTS (SELECT FROM public.entry e
            WHERE e.partition = t.partition AND e.chain_seq = t.chain_seq OFFSET 0) AS has_entries
        INTO first FROM public.ledger_transaction t
        WHERE t.partition = NEW.partition AND t.chain_seq = OLD.chain_seq + 1;
    IF NEW.chain_seq = OLD.chain_seq + 1 THEN
        last := first;
    ELSE
        SELECT t.hash, t.posted_at, EXISTS (SELECT FROM public.entry e
                WHERE e.partition = t.partition AND e.chain_seq = t.chain_seq OFFSET 0) AS has_entries
            INTO last FROM public.ledger_transaction t
            WHERE t.partition = NEW.partition AND t.chain_seq = NEW.chain_seq;
    END IF;
    IF (NEW.chain_seq > OLD.chain_seq AND first.has_entries AND last.has_entries
        AND first.previous_hash = OLD.chain_hash AND first.posted_at >= OLD.last_posted_at
        AND last.hash = NEW.chain_hash AND last.posted_at = NEW.last_posted_at) IS NOT TRUE
    THEN
        RAISE EXCEPTION 'the head of chain % may not move from % to %: a head only follows transactions with entries',
            NEW.partition, OLD.chain_seq, NEW.chain_seq
            USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'partition_head_founded';
    END IF;
    RETURN NULL;
END $$;
-- Deferred: a posting advances the heads before it writes the transactions.
CREATE CONSTRAINT TRIGGER partition_head_founded AFTER UPDATE ON partition DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN ((OLD.chain_seq, OLD.chain_hash, OLD.last_posted_at)
        IS DISTINCT FROM (NEW.chain_seq, NEW.chain_hash, NEW.last_posted_at))
    EXECUTE FUNCTION refuse_unfounded_head();

-- The entries of a batch belong to its own transactions, to all of them in each chain: from the first one named, which
-- this transaction of the database must have written, to the head. The head's guard looks at both ends.
CREATE OR REPLACE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    touched record;
    culprit record;
    head bigint;
    is_new boolean;
BEGIN
    FOR touched IN
        SELECT legs.partition, min(legs.chain_seq) AS first, max(legs.chain_seq) AS last, count(*) AS groups,
            bool_and(legs.difference = 0) AS balanced
        FROM (SELECT i.partition, i.chain_seq, i.currency_code, sum(i.amount_minor) AS difference
            FROM inserted i GROUP BY i.partition, i.chain_seq, i.currency_code) legs
        GROUP BY legs.partition
    LOOP
        IF NOT touched.balanced THEN
            SELECT i.partition, i.chain_seq, i.currency_code, sum(i.amount_minor) AS difference INTO culprit
                FROM inserted i WHERE i.partition = touched.partition
                GROUP BY i.partition, i.chain_seq, i.currency_code HAVING sum(i.amount_minor) <> 0 LIMIT 1;
            RAISE EXCEPTION 'entries of transaction %/% do not sum to zero in %: %',
                culprit.partition, culprit.chain_seq, culprit.currency_code, culprit.difference
                USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_balanced';
        END IF;
        IF touched.groups <> touched.last - touched.first + 1 THEN -- a gap, or a transaction in several currencies
            SELECT count(DISTINCT i.chain_seq) AS groups INTO touched.groups
                FROM inserted i WHERE i.partition = touched.partition;
        END IF;
        SELECT p.chain_seq, EXISTS (SELECT FROM public.ledger_transaction t WHERE t.partition = p.partition
                AND t.chain_seq = touched.first AND t.xmin = pg_current_xact_id()::xid OFFSET 0)
            INTO head, is_new FROM public.partition p WHERE p.partition = touched.partition;
        IF (head = touched.last AND touched.groups = touched.last - touched.first + 1 AND is_new) IS NOT TRUE THEN
            RAISE EXCEPTION 'entries %/% to % are not those of transactions written with them up to the head, %',
                touched.partition, touched.first, touched.last, head
                USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'entry_of_new_transaction';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- The balances. That a balance is the sum of its entries, `reconcile` proves: a look-up an account would cost too much.

CREATE FUNCTION refuse_unexplained_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'balance of account %: % at entry % cannot become % at entry %', NEW.account_id,
        OLD.balance_minor, OLD.entry_count, NEW.balance_minor, NEW.entry_count
        USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'account_balance_explained';
END $$;
CREATE TRIGGER account_balance_explained BEFORE UPDATE ON account_balance
    FOR EACH ROW WHEN (NEW.entry_count < OLD.entry_count OR NEW.version < OLD.version
        OR (NEW.entry_count = OLD.entry_count AND NEW.balance_minor <> OLD.balance_minor))
    EXECUTE FUNCTION refuse_unexplained_balance();

CREATE FUNCTION refuse_other_facts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE agree boolean;
BEGIN
    SELECT b.entity_id = a.entity_id AND b.currency_code = a.currency_code
            AND b.floor_minor IS NOT DISTINCT FROM -a.overdraft_limit_minor
            AND b.normal_sign = CASE WHEN a.type IN ('asset', 'expense') THEN 1 ELSE -1 END
        INTO agree
        FROM public.account a JOIN public.account_balance b USING (account_id) WHERE a.account_id = NEW.account_id;
    IF agree IS NOT TRUE THEN
        RAISE EXCEPTION 'account % and its balance differ in entity, currency, normal side or floor', NEW.account_id
            USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'account_balance_facts';
    END IF;
    RETURN NULL;
END $$;
-- Deferred: an account and its balance are written one after the other.
CREATE CONSTRAINT TRIGGER account_facts AFTER INSERT OR UPDATE OF overdraft_limit_minor ON account
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_other_facts();
CREATE CONSTRAINT TRIGGER account_balance_facts AFTER INSERT OR UPDATE OF floor_minor ON account_balance
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_other_facts();

CREATE FUNCTION refuse_given_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'account % begins with balance 0 and no entry', NEW.account_id
        USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'account_balance_begins_empty';
END $$;
CREATE TRIGGER account_balance_begins_empty BEFORE INSERT ON account_balance
    FOR EACH ROW WHEN (NEW.balance_minor <> 0 OR NEW.entry_count <> 0) EXECUTE FUNCTION refuse_given_balance();

-- Settings, cursors, exported heads

CREATE FUNCTION refuse_setting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'setting % may not become %: the number of partitions is fixed, a version only grows', NEW.name, NEW.value
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'ledger_setting_guarded';
END $$;
CREATE TRIGGER ledger_setting_guarded BEFORE UPDATE ON ledger_setting
    FOR EACH ROW WHEN (NEW.name IS DISTINCT FROM 'directory_version' OR NEW.value < OLD.value)
    EXECUTE FUNCTION refuse_setting();

-- A cursor that is set back only makes the next run look at more.
CREATE FUNCTION refuse_unfounded_cursor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.chain_seq <> 0 AND NOT EXISTS (SELECT FROM public.ledger_transaction t
        WHERE t.partition = NEW.partition AND t.chain_seq = NEW.chain_seq)
    THEN
        RAISE EXCEPTION 'the cursor of chain % may not stand at %: there is no such transaction', NEW.partition, NEW.chain_seq
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'reconciliation_cursor_founded';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reconciliation_cursor_founded BEFORE INSERT OR UPDATE ON reconciliation_cursor
    FOR EACH ROW EXECUTE FUNCTION refuse_unfounded_cursor();

CREATE FUNCTION refuse_unfounded_export() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.ledger_transaction t
        WHERE t.partition = NEW.partition AND t.chain_seq = NEW.chain_seq AND t.hash = NEW.chain_hash)
    THEN
        RAISE EXCEPTION 'chain % has no transaction % with this hash', NEW.partition, NEW.chain_seq
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'chain_head_export_founded';
    END IF;
    NEW.exported_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER chain_head_export_founded BEFORE INSERT ON chain_head_export
    FOR EACH ROW EXECUTE FUNCTION refuse_unfounded_export();

-- API keys and the audit trail
--
-- API keys are made and revoked with the owner's rights, which the command line has; the app only reads them. A function
-- that acts with the owner's rights would not do: whoever has the app's connection could call it as well.
REVOKE INSERT, UPDATE ON api_key FROM holdfast_app;
REVOKE UPDATE (revoked_at) ON api_key FROM holdfast_app;
GRANT INSERT, UPDATE ON api_key TO CURRENT_USER; -- where one role is both

CREATE FUNCTION refuse_revival() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'key % was revoked, for good', OLD.key_id
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'api_key_revoked_once';
END $$;
CREATE TRIGGER api_key_revoked_once BEFORE UPDATE ON api_key
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL) EXECUTE FUNCTION refuse_revival();

-- The database cannot know who called the app, so an actor is what the app says; but an event happens now, and events of
-- keys are the owner's. `reconcile --full` compares the others with what they tell of.
CREATE FUNCTION stamp_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.action LIKE 'key.%' AND NOT pg_has_role(current_user,
        (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = TG_RELID), 'USAGE')
    THEN
        RAISE EXCEPTION 'role % may not record %', current_user, NEW.action
            USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'audit_event_of_owner';
    END IF;
    NEW.recorded_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER audit_event_stamped BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION stamp_audit_event();
