"""The period of a report, as a person asks for it: from the beginning of this year until now, unless they say more."""

from dataclasses import dataclass
from datetime import MINYEAR, datetime, timedelta

from app.dashboard.context import here
from app.dashboard.formats import read_moment, typed
from app.dashboard.frame import entity
from app.dashboard.requests import Filters
from app.domain.financial_statements import CurrencyStatements, Period
from app.domain.read_models import TimeBasis

THE_BEGINNING = "the beginning"
"""What people type to go back to the first entry."""


@dataclass(slots=True, frozen=True)
class AskedPeriod:
    """A period, and what stands in the fields of its form."""

    period: Period
    begins: str
    ends: str

    @property
    def days_before(self) -> str:
        """Up to when what was before the period goes, as the form of a report has it."""
        begins_at = self.period.begins_at
        if begins_at is None or begins_at.year == MINYEAR:
            return ""
        return typed(begins_at - timedelta(milliseconds=1))

    @property
    def of_entries(self) -> dict[str, str]:
        """What the history of an account is filtered by, to show what the period has; it knows only posted time."""
        if self.period.by is not TimeBasis.POSTED:
            return {}
        begins = {} if self.period.begins_at is None else {"from": typed(self.period.begins_at)}
        return begins | ({} if self.period.ends_at is None else {"to": typed(self.period.ends_at)})

    @property
    def name(self) -> str:
        """For the name of a file."""
        ends_at = self.period.ends_at or here().now()
        return f"{ends_at:%Y-%m-%d}"


def asked_statements(filters: Filters) -> tuple[AskedPeriod, str | None, list[CurrencyStatements]]:
    """The period and the currency that the address asks for, and their statements; none if something is unreadable."""
    asked, currency_code = _asked_period(filters), filters.text("currency_code") or None
    if filters.errors:
        return asked, currency_code, []
    reports = here().api.financial_statements
    return asked, currency_code, reports.read(asked.period, entity_id=entity(), currency_code=currency_code)


def _asked_period(filters: Filters) -> AskedPeriod:
    """The period that the address asks for; what is wrong with it stands in the filters' errors."""
    this_year = here().now().replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    begins = filters.text("from")
    begins_at: datetime | None = this_year
    if begins == THE_BEGINNING:
        begins_at = None
    elif begins:
        begins_at = filters.read("from", read_moment)
    ends_at = filters.read("to", lambda text: read_moment(text, is_end=True))
    if not begins and ends_at is not None and ends_at < this_year:
        begins_at = ends_at.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    by = filters.choice("by", TimeBasis) or TimeBasis.POSTED
    period = Period(begins_at, ends_at, by)
    if period.is_backwards:
        filters.errors["to"] = "The period ends before it begins."
    shown = begins or (f"{begins_at:%Y-%m-%d}" if begins_at else THE_BEGINNING)
    return AskedPeriod(period, shown, filters.text("to"))
