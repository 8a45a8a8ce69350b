"""Latencies as counts: percentiles by nearest rank, and never far from the exact value."""

import random

import pytest

from bench.load.histogram import Histogram, rounded_us


@pytest.mark.parametrize(
    ("percent", "expected_ms"), [(1, 0.001), (50, 0.050), (90, 0.090), (99, 0.099), (99.9, 0.1), (100, 0.1)]
)
def test_percentiles_are_nearest_rank(percent: float, expected_ms: float) -> None:
    histogram = Histogram.of_seconds(number / 1e6 for number in range(1, 101))
    assert histogram.percentile(percent) == expected_ms


def test_one_value_is_every_percentile() -> None:
    histogram = Histogram.of_seconds([0.002])
    assert {histogram.percentile(percent) for percent in (0, 50, 99.99, 100)} == {2.0}


def test_nothing_has_no_percentile() -> None:
    assert Histogram().percentile(50) is None
    assert list(Histogram().bars()) == []


def test_counting_stays_within_half_a_percent() -> None:
    draw = random.Random(1)
    for _ in range(2_000):
        exact = int(10 ** draw.uniform(0, 7))
        assert abs(rounded_us(exact) - exact) <= exact * 0.005


def test_merging_is_counting_together() -> None:
    low, high = Histogram.of_seconds([0.001] * 98), Histogram.of_seconds([0.5] * 2)
    merged = Histogram.merged([low, high])
    assert merged.total == 100
    assert merged.percentile(98) == 1.0
    assert merged.percentile(99) == 500.0


def test_bars_lose_nothing_and_bound_what_they_count() -> None:
    histogram = Histogram.of_seconds([0.0001, 0.001, 0.0011, 0.1])
    bars = dict(histogram.bars(per_decade=1))
    assert sum(bars.values()) == 4
    assert bars[1.0] == 1
    assert bars[100.0] == 1
    assert bars[10.0] == 1
