"""The composition root: builds the adapters, hands them to the services. Nothing connects before it is used.

A room for each kind of process, so that none imports what only another one needs.
"""
