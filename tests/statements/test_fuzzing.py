"""Damaged files of every format: a reader refuses what it cannot read, never fails, and never proves a wrong sum."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import MAX_MINOR
from app.domain.statement import UnreadableStatement
from tests.statements.month import FILES, Month, right_month
from tests.statements.reading import Read, read, stripe, stripe_row
from tests.statements.test_stripe import api_object

SHORT = Month(lines=right_month().lines[:6])

ROWS = [stripe_row(str(n), "charge", f"{n}.10", "0.10", f"{n}.00", payout="po_1") for n in range(1, 5)]
OBJECTS = [api_object(str(n), 100 + n, 3) for n in range(5)]

WHOLE: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    **{name: (name, write(SHORT).encode(), options) for name, (write, options) in FILES.items()},
    "stripe reports": ("stripe", stripe(*ROWS).encode(), {}),
    "stripe objects": ("stripe", "\n".join(json.dumps(one) for one in OBJECTS).encode(), {}),
    "stripe list": ("stripe", json.dumps({"object": "list", "data": OBJECTS}).encode(), {}),
}

PUT = st.binary(max_size=8) | st.sampled_from([b"\x00", b"\xff", b"9", b"."])
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


def tried(format: str, content: bytes, options: dict[str, Any]) -> Read | None:
    try:
        return read(format, content, options=options)
    except UnreadableStatement:
        return None


@pytest.mark.parametrize("name", WHOLE)
@given(damage=DAMAGE)
def test_a_damaged_file_is_refused_or_read_and_its_sums_are_what_its_lines_say(
    name: str, damage: list[tuple[float, int, bytes]]
) -> None:
    format, content, options = WHOLE[name]
    found = tried(format, damaged(content, damage), options)
    if found is None:
        return
    assert all(isinstance(amount, int) and abs(amount) <= MAX_MINOR for amount in found.amounts)
    assert sum(one.sum_minor for one in found.tally.statements.values()) == sum(found.amounts)
    for one in found.tally.statements.values():
        if one.proof == "proven":
            assert one.opening is not None
            assert one.closing is not None
            assert one.opening.amount_minor + one.sum_minor == one.closing.amount_minor


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
