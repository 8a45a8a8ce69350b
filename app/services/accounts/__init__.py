"""Accounts: opening and changing them, sharing their facts with every process, and loading them into the cache."""
