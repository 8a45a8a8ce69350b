"""Faults: what goes wrong around a request, as opposed to a refusal, which is an answer to it."""


class Fault(Exception):
    """Something outside the request failed."""


class CacheUnavailable(Fault):
    """The cache could not be reached or does not accept writes; nothing was done."""


class OutcomeUnknown(Fault):
    """The cache did not answer in time; the script may or may not have run."""


class LedgerUnavailable(Fault):
    """The books could not be reached or did not answer in time."""


class ConcurrencyConflict(Fault):
    """The books aborted a transaction because of a concurrent one; trying again may succeed."""


class RowsChanged(Fault):
    """Rows of the books are not as they were remembered; nothing was written."""


class ConcurrencyRetryExhausted(Fault):
    """The bounded retries of a transaction are used up."""


class LedgerConstraintViolated(Fault):
    """The books rejected a posting by one of their own constraints."""

    def __init__(self, constraint: str, message: str) -> None:
        super().__init__(message)
        self.constraint = constraint


class NothingProved(Fault):
    """A proof has not looked at what it should have looked at, so it says nothing."""


class Misconfigured(Fault):
    """A setting or a server contradicts what Holdfast needs; it does not start like this."""
