-- What the app's own role may do: read everything, append to the books, and change only what is state.
GRANT USAGE ON SCHEMA public TO holdfast_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO holdfast_app;
GRANT INSERT ON account, account_balance, ledger_transaction, entry, payment_rejection, payment_duplicate,
    hold, hold_event, conflict_count, audit_event, api_key, reconciliation_run, reconciliation_break, reconciliation_break_event,
    reconciliation_cursor, chain_head_export TO holdfast_app;
GRANT UPDATE (balance_minor, floor_minor, version, entry_count, updated_at) ON account_balance TO holdfast_app;
GRANT UPDATE (name, overdraft_limit_minor, status, metadata) ON account TO holdfast_app;
GRANT UPDATE (chain_seq, chain_hash, last_position, last_posted_at) ON partition TO holdfast_app;
GRANT UPDATE (state, captured_minor, concluded_by, concluded_at) ON hold TO holdfast_app;
GRANT UPDATE (value) ON ledger_setting TO holdfast_app;
GRANT UPDATE (retries, exhausted, last_at) ON conflict_count TO holdfast_app;
GRANT UPDATE (revoked_at) ON api_key TO holdfast_app;
GRANT UPDATE (finished_at, checked, break_count) ON reconciliation_run TO holdfast_app;
GRANT UPDATE (figures, state, owner, reason_code, last_run_id, last_seen_at) ON reconciliation_break TO holdfast_app;
GRANT UPDATE (chain_seq) ON reconciliation_cursor TO holdfast_app;
GRANT SELECT ON alembic_version TO holdfast_app;
