"""Faults: failures around a request. A refusal, by contrast, is an answer to the request."""


class Fault(Exception):
    """Something outside the request failed."""


class CacheUnavailable(Fault):
    """The cache could not be reached or does not accept writes; nothing was done."""


class CacheFull(CacheUnavailable):
    """The cache has no memory to spare for new payments; nothing was done."""


class ClocksDisagree(CacheUnavailable):
    """The clocks of this machine and of the cache differ so much that a payment would get a wrong time."""


class OutcomeUnknown(Fault):
    """The cache did not answer in time; the script may or may not have run."""


class LedgerUnavailable(Fault):
    """The ledger could not be reached, did not answer in time, or does not accept writes.

    `not_run` says that the failed statement has certainly changed nothing, and nothing else of its transaction has.
    """

    def __init__(self, message: str, *, not_run: bool = False) -> None:
        super().__init__(message)
        self.not_run = not_run


class ConcurrencyConflict(Fault):
    """The ledger aborted a transaction because of a concurrent one; a retry may succeed."""


class RowsChanged(Fault):
    """Rows of the ledger differ from the remembered ones; nothing was written."""


class ConcurrencyRetryExhausted(Fault):
    """The bounded retries of a transaction are used up."""


class LedgerConstraintViolated(Fault):
    """A constraint of the database rejected a posting."""

    def __init__(self, constraint: str, message: str) -> None:
        super().__init__(message)
        self.constraint = constraint


class NothingProved(Fault):
    """A proof has not looked at what it should have looked at, so it says nothing."""


class Misconfigured(Fault):
    """A setting or a server contradicts what Holdfast needs; Holdfast does not start with it."""


class HistoryIncomplete(Fault):
    """The ledger lacks transactions that a proof needs: somebody has removed them, or the tree is not built yet."""


class TreeUnderConstruction(Fault):
    """The Merkle tree of a chain still lacks nodes for much of what is posted, as after an upgrade."""


class HistoryRewritten(Fault):
    """The ledger's history is not the one that an earlier head was signed for; no further head is signed."""


class SigningKeyUnusable(Fault):
    """The key that signs heads is missing, is not safe, or is not one of this ledger's keys."""
