"""The composition root: it builds the adapters and hands them to the services. Nothing connects before it is used.

Each kind of process has its own module, so that none imports what only another one needs.
"""
