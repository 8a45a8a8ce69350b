"""Statements: replaying files of bank movements."""
