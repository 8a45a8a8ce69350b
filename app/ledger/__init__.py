"""The ledger in Postgres: the only code that knows SQL."""
