-- Events: in which order what the ledger holds is told. What an event says is derived from the rows that it tells of;
-- stored is only the order, one row for each posting batch and chain, and one for whatever has no chain.
--
-- Positions are given after the commit, by one function with one lock, to what is committed. app/ledger/events.py says
-- why nothing is skipped and nothing told twice.

CREATE TABLE event_head (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    position bigint NOT NULL
);
COMMENT ON TABLE event_head IS 'The last position that was given; who gives positions locks it.';
INSERT INTO event_head (position) VALUES (0);

CREATE TABLE event_chain (
    partition smallint PRIMARY KEY REFERENCES partition,
    chain_seq bigint NOT NULL
);
COMMENT ON TABLE event_chain IS 'Up to where the transactions of each chain have positions.';
INSERT INTO event_chain (partition, chain_seq) SELECT partition, chain_seq FROM partition;

CREATE TABLE event_notice (
    notice_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('account', 'hold', 'rejection', 'break', 'monitor')),
    source_id text COLLATE "C" NOT NULL,
    noted_at timestamptz NOT NULL,
    account_id text COLLATE "C",
    held_change_minor bigint,
    balance_minor bigint,
    entry_number bigint,
    changes_floor boolean NOT NULL DEFAULT false,
    floor_before_minor bigint
);
CREATE INDEX event_notice_of_floor ON event_notice (account_id) WHERE changes_floor;
COMMENT ON TABLE event_notice IS 'State, empty nearly always: what is committed, belongs to no chain, and has no position yet. Triggers write it.';
COMMENT ON COLUMN event_notice.source_id IS 'The key of the row that it tells of.';
COMMENT ON COLUMN event_notice.balance_minor IS 'Of a hold: the account''s balance and number of entries after the batch.';

CREATE TABLE event_log (
    position bigint PRIMARY KEY,
    kind text NOT NULL,
    partition smallint,
    first_seq bigint,
    last_seq bigint,
    source_id text COLLATE "C",
    account_id text COLLATE "C",
    sequenced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((kind = 'chain') = (partition IS NOT NULL)),
    CHECK ((kind = 'chain') = (source_id IS NULL))
);
CREATE INDEX event_log_of_chain ON event_log (partition, last_seq) WHERE kind = 'chain';
COMMENT ON TABLE event_log IS 'Append-only, without a gap: the order of events. A position is a batch''s transactions in one chain, or one row without a chain.';

CREATE TABLE event_held (
    account_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    held_minor bigint NOT NULL,
    changes bigint NOT NULL,
    balance_minor bigint,
    entry_number bigint,
    is_told boolean NOT NULL,
    PRIMARY KEY (account_id, position)
);
COMMENT ON TABLE event_held IS 'Append-only. What authorizations hold on an account from a position on, as a running sum, and how often it has changed.';
COMMENT ON COLUMN event_held.is_told IS 'Whether this position tells the balance: the last change of the batch does, unless an entry of the same batch does.';
INSERT INTO event_held (account_id, position, held_minor, changes, is_told)
SELECT guarded_account_id, 0, sum(hold_minor), 0, false FROM hold WHERE state = 'authorized' GROUP BY guarded_account_id;

CREATE TABLE event_floor (
    account_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    floor_before_minor bigint,
    PRIMARY KEY (account_id, position)
);
COMMENT ON TABLE event_floor IS 'Append-only. The floor that an account had before the change at a position.';

DO $$
DECLARE append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY['event_log', 'event_held', 'event_floor']
    LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            append_only || '_append_only', append_only);
    END LOOP;
END $$;

-- Notices. They are written with the owner's rights by the statement that writes what they tell of, so nobody can leave
-- one out, or invent one.

CREATE FUNCTION notice_holds() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO public.event_notice (kind, source_id, noted_at, account_id, held_change_minor, balance_minor, entry_number)
    SELECT 'hold', i.hold_event_id::text, b.updated_at, h.guarded_account_id,
        CASE WHEN i.state = 'authorized' THEN h.hold_minor ELSE -h.hold_minor END, b.balance_minor, b.entry_count
    FROM inserted i
    JOIN public.hold h ON h.payment_id = i.payment_id
    JOIN public.account_balance b ON b.account_id = h.guarded_account_id
    ORDER BY i.hold_event_id;
    RETURN NULL;
END $$;
CREATE TRIGGER hold_event_noticed AFTER INSERT ON hold_event REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION notice_holds();

CREATE FUNCTION notice_rejections() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.event_notice (kind, source_id, noted_at, account_id)
    SELECT 'rejection', i.payment_id, clock_timestamp(), i.intent ->> 'guarded_account_id' FROM inserted i
    WHERE i.intent ->> 'kind' <> 'journal_hold';
    RETURN NULL;
END $$;
CREATE TRIGGER payment_rejection_noticed AFTER INSERT ON payment_rejection REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION notice_rejections();

CREATE FUNCTION notice_accounts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.event_notice (kind, source_id, noted_at, account_id, changes_floor, floor_before_minor)
    SELECT 'account', i.audit_event_id::text, i.recorded_at, i.subject,
        i.action = 'account.change' AND coalesce(i.detail -> 'before' ? 'overdraft_limit_minor', false),
        -(i.detail -> 'before' ->> 'overdraft_limit_minor')::bigint
    FROM inserted i WHERE i.action IN ('account.create', 'account.change') ORDER BY i.audit_event_id;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_event_noticed AFTER INSERT ON audit_event REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION notice_accounts();

-- A break is told when it opens and when it is settled, and not for each comment on it.
CREATE FUNCTION notice_breaks() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.event_notice (kind, source_id, noted_at)
    SELECT 'break', i.event_id::text, i.recorded_at FROM inserted i
    LEFT JOIN LATERAL (SELECT e.state FROM public.reconciliation_break_event e
        WHERE e.break_id = i.break_id AND e.event_id < i.event_id ORDER BY e.event_id DESC LIMIT 1) before ON true
    WHERE (i.state IN ('resolved', 'accepted')) IS DISTINCT FROM (before.state IN ('resolved', 'accepted'))
    ORDER BY i.event_id;
    RETURN NULL;
END $$;
CREATE TRIGGER reconciliation_break_event_noticed AFTER INSERT ON reconciliation_break_event
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION notice_breaks();

-- Gives positions to what has none, in one statement and so of one moment; returns the last position. `most` bounds the
-- transactions that one chain adds at a time: beyond, all chains stop at the same time of posting.

CREATE FUNCTION sequence_events(most bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    latest bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'positions are given in transactions that are read committed'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF NOT EXISTS (SELECT FROM public.event_notice)
        AND NOT EXISTS (SELECT FROM public.partition p JOIN public.event_chain c USING (partition)
            WHERE p.chain_seq > c.chain_seq)
    THEN
        RETURN (SELECT h.position FROM public.event_head h);
    END IF;
    SELECT h.position INTO latest FROM public.event_head h FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN -- somebody else is giving positions
        RETURN (SELECT h.position FROM public.event_head h);
    END IF;
    WITH grown AS (
        SELECT p.partition, c.chain_seq AS done, p.chain_seq AS head
        FROM public.partition p JOIN public.event_chain c USING (partition) WHERE p.chain_seq > c.chain_seq
    ), bound AS (
        SELECT min(t.posted_at) AS until FROM grown g JOIN public.ledger_transaction t
            ON t.partition = g.partition AND t.chain_seq = g.done + most AND g.head > g.done + most
    ), batch AS (
        SELECT t.partition, t.posted_at, min(t.chain_seq) AS first_seq, max(t.chain_seq) AS last_seq
        FROM grown g CROSS JOIN bound CROSS JOIN LATERAL (
            SELECT t.partition, t.posted_at, t.chain_seq FROM public.ledger_transaction t
            WHERE t.partition = g.partition AND t.chain_seq > g.done AND t.chain_seq <= least(g.head, g.done + most)
        ) t
        WHERE bound.until IS NULL OR t.posted_at <= bound.until
        GROUP BY t.partition, t.posted_at
    ), taken AS (
        DELETE FROM public.event_notice n USING bound
        WHERE n.kind <> 'hold' OR bound.until IS NULL OR n.noted_at <= bound.until
        RETURNING n.*
    ), item AS (
        SELECT 'chain' AS kind, posted_at AS told_at, true AS is_chain, partition, first_seq, last_seq,
            NULL::bigint AS notice_id, NULL::text AS source_id, NULL::text AS account_id, NULL::bigint AS held_change_minor,
            NULL::bigint AS balance_minor, NULL::bigint AS entry_number, false AS changes_floor,
            NULL::bigint AS floor_before_minor
        FROM batch
        UNION ALL
        SELECT kind, noted_at, false, NULL, NULL, NULL, notice_id, source_id, account_id, held_change_minor, balance_minor,
            entry_number, changes_floor, floor_before_minor
        FROM taken
    ), placed AS (
        -- Accounts first: one is opened before it is paid. Holds before the entries of their batch, which tell what is
        -- held after it.
        SELECT i.*, latest + row_number() OVER
            (ORDER BY i.kind <> 'account', i.told_at, i.is_chain, i.partition, i.first_seq, i.notice_id) AS position
        FROM item i
    ), logged AS (
        INSERT INTO public.event_log (position, kind, partition, first_seq, last_seq, source_id, account_id)
        SELECT p.position, p.kind, p.partition, p.first_seq, p.last_seq, p.source_id, p.account_id FROM placed p
        ORDER BY p.position
    ), held AS (
        INSERT INTO public.event_held (account_id, position, held_minor, changes, balance_minor, entry_number, is_told)
        SELECT p.account_id, p.position,
            coalesce(b.held_minor, 0) + sum(p.held_change_minor) OVER (PARTITION BY p.account_id ORDER BY p.position),
            coalesce(b.changes, 0) + row_number() OVER (PARTITION BY p.account_id ORDER BY p.position),
            p.balance_minor, p.entry_number,
            lead(p.told_at) OVER (PARTITION BY p.account_id ORDER BY p.position) IS DISTINCT FROM p.told_at
                AND NOT EXISTS (SELECT FROM public.entry e WHERE e.account_id = p.account_id
                    AND e.entry_number = p.entry_number AND e.posted_at = p.told_at)
        FROM placed p
        LEFT JOIN LATERAL (SELECT h.held_minor, h.changes FROM public.event_held h WHERE h.account_id = p.account_id
            ORDER BY h.position DESC LIMIT 1) b ON true
        WHERE p.kind = 'hold'
    ), floors AS (
        INSERT INTO public.event_floor (account_id, position, floor_before_minor)
        SELECT p.account_id, p.position, p.floor_before_minor FROM placed p WHERE p.changes_floor
    ), advanced AS (
        UPDATE public.event_chain c SET chain_seq = b.last_seq
        FROM (SELECT partition, max(last_seq) AS last_seq FROM batch GROUP BY partition) b
        WHERE c.partition = b.partition
    )
    UPDATE public.event_head h SET position = latest + (SELECT count(*) FROM placed) RETURNING h.position INTO latest;
    RETURN latest;
END $$;

REVOKE EXECUTE ON FUNCTION sequence_events(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sequence_events(bigint) TO holdfast_app;
GRANT SELECT ON event_head, event_chain, event_notice, event_log, event_held, event_floor TO holdfast_app;
