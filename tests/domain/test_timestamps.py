"""Reading times: what RFC 3339 allows, in UTC, never rounded up."""

from datetime import UTC, datetime

import pytest

from app.domain.timestamps import parse_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31t09:30:00z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31 09:30:00.5-00:00", datetime(2026, 1, 31, 9, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-01-31T00:30:00+02:00", datetime(2026, 1, 30, 22, 30, tzinfo=UTC)),
        ("2026-01-31T00:30:00-0230", datetime(2026, 1, 31, 3, 0, tzinfo=UTC)),
        ("2026-01-31T23:59:59.9999999Z", datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("2026-12-31T23:59:59." + "9" * 100 + "Z", datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_into_utc_and_cut(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "RFC 3339"),
        ("2026-01-31", "RFC 3339"),
        ("20260131T093000Z", "RFC 3339"),
        ("2026-W05-6T09:30:00Z", "RFC 3339"),
        ("2026-01-31T09:30Z", "RFC 3339"),
        ("2026-01-31T24:00:00Z", "RFC 3339"),
        ("2026-01-31T09:30:00.Z", "RFC 3339"),
        ("2026-01-31T09:30:00,5Z", "RFC 3339"),
        ("2026-01-31T09:30:00+02", "RFC 3339"),
        ("2026-01-31T09:30:00+24:00", "RFC 3339"),
        ("2026-01-31T09:30:00Z\n", "RFC 3339"),
        ("٢٠٢٦-01-31T09:30:00Z", "RFC 3339"),
        ("2026-02-30T09:30:00Z", "not a time"),
        ("2026-01-31T09:30:60Z", "not a time"),
        ("0000-01-31T09:30:00Z", "not a time"),
        ("2026-01-31T09:30:00", "offset"),
        ("0001-01-01T00:00:00+14:00", "years 1 to 9999"),
    ],
)
def test_a_text_that_is_no_time_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_time(text)
