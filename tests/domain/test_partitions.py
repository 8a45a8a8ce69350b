"""Payment ids, outbox positions and partitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.payment import OutboxPosition, parse_payment_id, partition_of, stream_id_order
from app.domain.timestamps import from_milliseconds, rfc3339, to_microseconds, to_milliseconds

stream_ids = st.builds(lambda ms, seq: f"{ms}-{seq}", st.integers(0, 10**15 - 1), st.integers(0, 10**10 - 1))


@given(st.integers(0, 32_767), stream_ids)
def test_a_payment_id_leads_back_to_its_outbox_position(partition: int, stream_id: str) -> None:
    outbox_position = OutboxPosition(partition, stream_id)
    assert parse_payment_id(outbox_position.payment_id) == outbox_position


@pytest.mark.parametrize(
    "text",
    ["", "pay_", "pay_1_2", "pay_1_2_3_4", "pay_-1_2_3", "PAY_1_2_3", " pay_1_2_3", "pay_1_2_3\n", "pay_１_2_3",
     "pay_1_9999999999999999_0", "pay_100000_1_0"],
)  # fmt: skip
def test_a_text_that_is_no_payment_id_leads_nowhere(text: str) -> None:
    assert parse_payment_id(text) is None


@given(st.lists(stream_ids, min_size=1))
def test_stream_ids_sort_as_the_stream_does(found: list[str]) -> None:
    assert [stream_id_order(p) for p in sorted(found, key=stream_id_order)] == sorted(
        tuple(int(part) for part in p.split("-")) for p in found
    )


@pytest.mark.parametrize(("key", "partition"), [("alice", 7), ("bob", 0), ("", 0), ("ü", 5)])
def test_the_partition_of_a_key_never_changes(key: str, partition: int) -> None:
    assert partition_of(key, 16) == partition


@given(st.text(), st.integers(1, 64))
def test_every_key_has_a_partition(key: str, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


@given(st.integers(0, 253_402_300_799_999))
def test_milliseconds_survive_a_round_trip_through_a_time(milliseconds: int) -> None:
    moment = from_milliseconds(milliseconds)
    assert to_milliseconds(moment) == milliseconds
    assert to_microseconds(moment) == milliseconds * 1000


def test_the_api_writes_times_in_utc_with_milliseconds() -> None:
    assert rfc3339(from_milliseconds(1_769_851_800_123)) == "2026-01-31T09:30:00.123Z"
