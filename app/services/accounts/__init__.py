"""Accounts: opening and changing them, their facts in every process, and bringing them into the cache."""
