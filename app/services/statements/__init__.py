"""Statements: files of a bank."""
