"""What tells a cache that is not the one it was."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.domain.cache_identity import (
    FoundPartition,
    RememberedCache,
    RememberedPartition,
    is_before,
    judge,
    loss_figures,
    resumed_after,
    with_payments,
    without_payments,
)
from app.domain.timestamps import to_milliseconds

REMEMBERED = RememberedPartition(
    "1000-3", "one", is_open=True, last_stream_id="2000-9", entries_added=50, pending=7, beat=4
)
FOUND = FoundPartition("one", 1, "2000-10", entries_added=51, pending=8, beat=4)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def cache(*partitions: RememberedPartition) -> RememberedCache:
    return RememberedCache(dict(enumerate(partitions)), 1, NOON, generation=1, server="before", seen_at=NOON)


CASES = {
    "the same, and more": (REMEMBERED, FOUND, "2000-10", False, False),
    "a stream id that was seen is missing": (REMEMBERED, replace(FOUND, last_stream_id="2000-8"), "", True, False),
    "ids are compared as numbers": (replace(REMEMBERED, last_stream_id="999-9"), FOUND, "1000-1", False, False),
    "a posted stream id is missing": (replace(REMEMBERED, last_posted="2000-11"), FOUND, "", True, False),
    "an acknowledged stream id is missing": (REMEMBERED, FOUND, "2000-11", True, False),
    "entries were added that are missing": (REMEMBERED, replace(FOUND, entries_added=49), "", True, False),
    "the beat is an earlier one": (REMEMBERED, replace(FOUND, beat=3), "", True, False),
    "another identity": (REMEMBERED, replace(FOUND, identity="other"), "", True, False),
    "closed, and nothing missing": (REMEMBERED, replace(FOUND, directory_version=None), "", False, True),
    "empty": (REMEMBERED, FoundPartition("", None, "", 0, 0), "", True, True),
    "never opened, and empty": (RememberedPartition(""), FoundPartition("", None, "", 0, 0), "", False, True),
    "never opened by this version, and in order": (
        RememberedPartition("1000-3"), FoundPartition("", 1, "1000-3", 9, 0), "", False, True,
    ),
    "never opened by this version, and behind the ledger": (
        RememberedPartition("1000-3"), FoundPartition("", 1, "1000-2", 9, 0), "", True, True,
    ),
    "being opened: what was lost is on record": (
        replace(REMEMBERED, is_open=False), FoundPartition("one", None, "", 0, 0), "", False, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "now", "acknowledged", "is_lost", "is_closed"), CASES.values(), ids=CASES)
def test_a_partition_is_judged_by_what_was_seen_of_it(
    before: RememberedPartition, now: FoundPartition, acknowledged: str, is_lost: bool, is_closed: bool
) -> None:
    judgement = judge(cache(before), {0: now}, {0: acknowledged})
    assert (0 in judgement.lost, 0 in judgement.closed) == (is_lost, is_closed)
    assert judgement.is_well is not (is_lost or is_closed)


def test_the_figures_name_the_span_and_what_was_pending_at_most() -> None:
    other = replace(REMEMBERED, last_stream_id="1500-0")
    found = {0: replace(FOUND, last_stream_id="1999-0", entries_added=47), 1: replace(FOUND, last_stream_id="1600-0")}
    remembered = cache(REMEMBERED, other)
    figures = loss_figures(judge(remembered, found, {}), remembered, "now")
    assert figures["partitions"] == {"0": {"last_known": "2000-9", "last_found": "1999-0", "pending_when_last_seen": 3}}
    assert figures["lost_after"] == "1970-01-01T00:00:01.999Z"
    assert figures["lost_until"] == "1970-01-01T00:00:02.000Z"
    assert figures["last_seen_at"] == "2026-01-31T12:00:00.000Z"
    assert (figures["server_before"], figures["server_now"]) == ("before", "now")


def test_a_stream_id_ahead_of_the_clock_is_no_time() -> None:
    ahead = f"{to_milliseconds(NOON) + 86_400_000}"
    remembered = cache(replace(REMEMBERED, last_stream_id=f"{ahead}-9"), REMEMBERED)
    found = {0: replace(FOUND, last_stream_id=f"{ahead}-2"), 1: replace(FOUND, last_stream_id="1999-0")}
    figures = loss_figures(judge(remembered, found, {}), remembered, "now")
    assert (figures["lost_after"], figures["lost_until"]) == (None, "2026-01-31T12:00:00.000Z")


@pytest.mark.parametrize("known", ["", "1000-7", "4000000000000-7"])
def test_a_partition_goes_on_after_every_stream_id_that_anybody_can_have_given(known: str) -> None:
    resumed = resumed_after(known, NOON)
    same_millisecond = f"{max(to_milliseconds(NOON), int(known.partition('-')[0] or 0))}-999999"
    assert is_before(known, resumed)
    assert is_before(same_millisecond, resumed)


def test_payments_are_named_once_listed_up_to_a_bound_and_all_counted() -> None:
    first = with_payments({}, {"a": "", "b": "authorized-1"}, NOON)
    figures = with_payments(first, {"b": "authorized-1", "c": ""}, NOON)
    assert (figures["payment_ids"], figures["lost_payments"]) == (["a", "b", "c"], 3)
    assert figures["ended_authorizations"] == {"b": "authorized-1"}
    without = without_payments(figures, ["b"])
    assert without == {**figures, "payment_ids": ["a", "c"], "ended_authorizations": {}, "lost_payments": 2}
    many = with_payments({}, {f"{number:05}": "" for number in range(1_500)}, NOON)
    assert (len(many["payment_ids"]), many["lost_payments"]) == (1_000, 1_500)


def test_the_span_of_a_loss_covers_what_other_processes_had_acknowledged() -> None:
    """Who opens the cache knows what was seen up to a second ago; another process has acknowledged more since."""
    seen = {"lost_after": "1970-01-01T00:00:01.999Z", "lost_until": "1970-01-01T00:00:02.000Z"}
    later = with_payments(seen, {"pay_0_4500_0": "", "pay_1_3000_0": ""}, NOON)
    assert (later["lost_after"], later["lost_until"]) == (seen["lost_after"], "1970-01-01T00:00:04.500Z")
    earlier = with_payments(seen, {"pay_2_1500_0": ""}, NOON)
    assert (earlier["lost_after"], earlier["lost_until"]) == ("1970-01-01T00:00:01.500Z", seen["lost_until"])
    ahead = with_payments(seen, {f"pay_0_{to_milliseconds(NOON) + 86_400_000}_0": ""}, NOON)
    assert ahead["lost_until"] == "2026-01-31T12:00:00.000Z"
