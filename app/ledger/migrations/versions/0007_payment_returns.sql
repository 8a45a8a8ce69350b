-- What each destination of a payment has given back, as a running sum: a refund reads one row a destination, however many
-- refunds came before it.

CREATE TABLE payment_return (
    payment_id text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    chain_seq bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    returned_minor bigint NOT NULL,
    PRIMARY KEY (payment_id, account_id, chain_seq)
);
CREATE INDEX payment_return_of_transaction ON payment_return (partition, chain_seq);
COMMENT ON TABLE payment_return IS 'Append-only. One row for each destination that a ledger transaction takes a payment back from; partition and chain_seq name the transaction.';
COMMENT ON COLUMN payment_return.amount_minor IS 'What this transaction takes back; negative where the reversal of a journal gives it to the destination again.';
COMMENT ON COLUMN payment_return.returned_minor IS 'What has been taken back in all, after this transaction.';

INSERT INTO payment_return (payment_id, account_id, partition, chain_seq, amount_minor, returned_minor)
SELECT t.relates_to, e.account_id, t.partition, t.chain_seq, e.amount_minor,
    sum(e.amount_minor) OVER (PARTITION BY t.relates_to, e.account_id ORDER BY t.chain_seq)
FROM ledger_transaction t JOIN entry e USING (partition, chain_seq)
WHERE t.relates_to IS NOT NULL AND t.kind = 'refund' AND e.amount_minor > 0;

CREATE FUNCTION refuse_wrong_return() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE paid bigint; latest record;
BEGIN
    SELECT -e.amount_minor INTO paid FROM public.ledger_transaction t JOIN public.entry e USING (partition, chain_seq)
        WHERE t.payment_id = NEW.payment_id AND e.account_id = NEW.account_id;
    SELECT chain_seq, returned_minor INTO latest FROM public.payment_return
        WHERE payment_id = NEW.payment_id AND account_id = NEW.account_id ORDER BY chain_seq DESC LIMIT 1;
    IF paid IS NULL OR NEW.returned_minor NOT BETWEEN 0 AND paid OR NEW.chain_seq <= coalesce(latest.chain_seq, 0)
        OR NEW.returned_minor <> coalesce(latest.returned_minor, 0) + NEW.amount_minor
    THEN
        RAISE EXCEPTION 'account % cannot have given back % of payment %', NEW.account_id, NEW.returned_minor, NEW.payment_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_return_adds_up';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_return_adds_up BEFORE INSERT ON payment_return
    FOR EACH ROW EXECUTE FUNCTION refuse_wrong_return();

CREATE TRIGGER payment_return_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_return
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON payment_return TO holdfast_app;
