"""Payments: submitting them, what they are answered, waiting for the ledger, batches, authorizations, refunds."""
