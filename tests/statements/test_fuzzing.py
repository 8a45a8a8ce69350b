"""Damaged files of every format: a reader refuses what it cannot read, never fails, and never proves a wrong sum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statements.damaged import SHORT, WHOLE, check, tried

DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1), st.integers(0, 12), st.binary(max_size=8) | st.sampled_from([b"\x00", b"\xff", b"9", b"."])
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, damage: list[tuple[float, int, bytes]]) -> bytes:
    """Pieces cut out at some places, and others put in."""
    for place, cut, put in damage:
        start = int(place * len(content))
        content = content[:start] + put + content[start + cut :]
    return content


@pytest.mark.parametrize("name", WHOLE)
@given(damage=DAMAGE)
def test_a_damaged_file_is_refused_or_read_and_its_sums_are_what_its_lines_say(
    name: str, damage: list[tuple[float, int, bytes]]
) -> None:
    format, content, options = WHOLE[name]
    check(format, damaged(content, damage), options)


@pytest.mark.parametrize("name", ["camt", "mt940", "csv"])
@given(line=st.integers(0, len(SHORT.lines) - 1), digit=st.integers(0, 9))
def test_a_wrong_digit_in_an_amount_is_never_proven(name: str, line: int, digit: int) -> None:
    format, content, options = WHOLE[name]
    line = max(line, 1) if format == "csv" else line  # what was before the first row, no balance of a CSV file says
    amount = abs(SHORT.lines[line].amount_minor)
    mark = b"." if name == "camt" else b","
    written = b"%d%b%02d" % (amount // 100, mark, amount % 100)
    changed = written[:-1] + b"%d" % digit
    found = tried(format, content.replace(written, changed, 1), options)
    assert found is not None
    is_same = changed == written
    assert (found.proofs == ["proven"]) is is_same
    assert (sorted(found.amounts) == sorted(one.amount_minor for one in SHORT.lines)) is is_same
