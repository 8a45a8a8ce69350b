-- Journals that wait for a second person: what was entered, and what was decided of it. Both are a record. And templates:
-- lines that are entered again and again. A template that changes gets another version.

CREATE TABLE journal_proposal (
    proposal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity_id text COLLATE "C" NOT NULL,
    kind text NOT NULL CHECK (kind IN ('journal', 'reversal')),
    external_id text COLLATE "C" NOT NULL,
    lines jsonb NOT NULL,
    reason text NOT NULL,
    effective_at timestamptz,
    metadata json,
    relates_to text COLLATE "C",
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (kind = 'journal' OR relates_to IS NOT NULL)
);
CREATE INDEX journal_proposal_external_id ON journal_proposal (entity_id, external_id);
COMMENT ON TABLE journal_proposal IS 'Append-only. Journals and reversals that somebody entered; without a row in journal_decision they wait.';
COMMENT ON COLUMN journal_proposal.lines IS '[[account_id, amount_minor, currency_code], ...], debit positive.';

CREATE TABLE journal_decision (
    proposal_id bigint PRIMARY KEY REFERENCES journal_proposal (proposal_id),
    decision text NOT NULL CHECK (decision IN ('approved', 'returned', 'withdrawn')),
    decided_by text NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text,
    journal_id text COLLATE "C" CONSTRAINT journal_decision_journal_id UNIQUE,
    CHECK ((decision = 'approved') = (journal_id IS NOT NULL))
);
COMMENT ON TABLE journal_decision IS 'Append-only. What was decided of a proposal, once. An approval is written by the transaction that posts the journal.';

-- Four eyes: only a person with the role approves or returns, and never the one who entered it, who alone withdraws. An
-- approval names the journal that the proposal has become.
CREATE FUNCTION refuse_decision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    proposed public.journal_proposal;
    fits boolean;
BEGIN
    SELECT * INTO proposed FROM public.journal_proposal WHERE proposal_id = NEW.proposal_id;
    IF NEW.decision = 'withdrawn' THEN
        fits := NEW.decided_by = proposed.entered_by;
    ELSE
        fits := NEW.decided_by <> proposed.entered_by AND EXISTS (SELECT FROM public.app_user u
            WHERE 'user:' || u.user_id = NEW.decided_by AND u.role IN ('controller', 'admin') AND u.disabled_at IS NULL);
    END IF;
    IF NEW.decision = 'approved' THEN
        fits := fits AND EXISTS (SELECT FROM public.ledger_transaction t
            WHERE t.payment_id = NEW.journal_id AND t.entity_id = proposed.entity_id AND t.kind = proposed.kind
                AND t.external_id = proposed.external_id AND t.actor = NEW.decided_by
                AND t.metadata ->> 'entered_by' = proposed.entered_by);
    END IF;
    IF fits IS NOT TRUE THEN
        RAISE EXCEPTION '% may not decide the proposed journal % so', NEW.decided_by, NEW.proposal_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'journal_decision_four_eyes';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER journal_decision_four_eyes BEFORE INSERT ON journal_decision
    FOR EACH ROW EXECUTE FUNCTION refuse_decision();

CREATE TABLE journal_template (
    name text COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    version integer NOT NULL CHECK (version > 0),
    lines jsonb NOT NULL,
    reason text NOT NULL,
    saved_by text NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, version)
);
COMMENT ON TABLE journal_template IS 'Append-only. The newest version of a template counts; one without lines is offered no more.';
COMMENT ON COLUMN journal_template.lines IS '[[account_id, is_debit, amount_minor or null], ...].';

DO $$
DECLARE append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY['journal_proposal', 'journal_decision', 'journal_template']
    LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            append_only || '_append_only', append_only);
    END LOOP;
END $$;

GRANT SELECT ON journal_proposal, journal_decision, journal_template TO holdfast_app;
-- Their times are the database's.
GRANT INSERT (entity_id, kind, external_id, lines, reason, effective_at, metadata, relates_to, entered_by)
    ON journal_proposal TO holdfast_app;
GRANT INSERT (proposal_id, decision, decided_by, reason, journal_id) ON journal_decision TO holdfast_app;
GRANT INSERT (name, version, lines, reason, saved_by) ON journal_template TO holdfast_app;
