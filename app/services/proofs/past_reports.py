"""Reports of the past that a process keeps, as long as they say what the ledger says."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

from app.domain.read_models import AsOf, LedgerMoment, TimeBasis

KEPT = 50
"""The month-ends that people look at again and again."""

SETTLED_AFTER = timedelta(minutes=5)
"""Whatever was posted with an earlier time has committed by now."""

Report = TypeVar("Report")


class PastReports(Generic[Report]):
    """Keeps the last reports, each with the moment of the ledger that it is of."""

    def __init__(self, moment: Callable[[], LedgerMoment], now: Callable[[], datetime]) -> None:
        """`moment` tells how far the ledger has come."""
        self._moment = moment
        self._now = now
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, tuple[LedgerMoment | None, Report]] = OrderedDict()

    def is_settled(self, as_of: AsOf | None) -> bool:
        """Whether nothing comes into a report any more: by posted time, if its instant is past for some minutes.

        It has to be so before the report is read. What is posted while somebody looks at the end of this day is not in
        the report, and tomorrow it belongs there.
        """
        return as_of is not None and as_of.by is TimeBasis.POSTED and as_of.at < self._now() - SETTLED_AFTER

    def find(self, key: Hashable) -> Report | None:
        """The report of a key, if it still holds."""
        kept = self._kept.get(key)
        if kept is None or kept[0] not in (None, self._moment()):
            return None
        return kept[1]

    def keep(self, key: Hashable, report: Report, moment: LedgerMoment | None) -> None:
        """Keep a report for as long as the ledger is at a moment; None is for good."""
        with self._lock:
            self._kept[key] = (moment, report)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
