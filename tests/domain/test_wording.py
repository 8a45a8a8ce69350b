"""Figures as people read them."""

from datetime import datetime, timedelta, timezone

import pytest

from app.domain.wording import clock_in_words, moment_in_words, sized, span


@pytest.mark.parametrize(
    ("size_bytes", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1_023, "1,023 bytes"),
        (1_024, "1 KiB"),
        (16 * 1024, "16 KiB"),
        (9_207_720, "8.8 MiB"),
        (1024**2 - 1, "1 MiB"),
        (256 * 1024**2, "256 MiB"),
        (3 * 1024**3 // 2, "1.5 GiB"),
        (5_000 * 1024**4, "5,000 TiB"),
    ],
)
def test_a_size_has_the_unit_that_suits_it(size_bytes: int, told: str) -> None:
    assert sized(size_bytes) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0004, "0 ms"),
        (0.41, "410 ms"),
        (3.2, "3.2 s"),
        (3_600, "60 min"),
        (45_812, "12 h 43 min"),
        (172_800, "2 days"),
    ],
)
def test_a_length_of_time_has_the_unit_that_suits_it(seconds: float, told: str) -> None:
    assert span(seconds) == told


def test_a_clock_is_ahead_or_behind_or_agrees() -> None:
    assert [clock_in_words(ahead_s) for ahead_s in (0.0004, -0.012, 61.0)] == ["agrees", "12 ms behind", "61.0 s ahead"]


def test_a_moment_in_a_sentence_is_in_utc_to_the_second() -> None:
    at = datetime(2026, 1, 31, 9, 30, 0, 123_456, timezone(timedelta(hours=1)))
    assert moment_in_words(at) == "2026-01-31 08:30:00 UTC"
