"""Posting: from the outbox into the ledger, and what the ledger says back into the cache."""
