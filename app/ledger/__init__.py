"""The books: the only code that knows SQL."""
