"""Splits: exact to the minor unit, whatever the parts."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.money import MAX_MINOR
from app.domain.refusals import Refusal
from app.domain.splits import MOST_DESTINATIONS, Destination, allocate, resolve_split

MILLION = 10**6


def fixed(account_id: str, amount_minor: int) -> Destination:
    return Destination(account_id, amount_minor=amount_minor)


def share(account_id: str, text: str) -> Destination:
    return Destination(account_id, share=text)


def remainder(account_id: str) -> Destination:
    return Destination(account_id, remainder=True)


def in_millionths(part: int) -> str:
    return f"{part // MILLION}.{part % MILLION:06d}"


def resolved(*destinations: Destination, total: int) -> list[int]:
    parts = resolve_split(destinations, total)
    assert not isinstance(parts, Refusal), parts
    return parts


def refused(*destinations: Destination, total: int = 100) -> Refusal:
    refusal = resolve_split(destinations, total)
    assert isinstance(refusal, Refusal), refusal
    return refusal


# Dividing in proportion

weight_lists = st.lists(st.integers(0, MAX_MINOR), min_size=1, max_size=MOST_DESTINATIONS).filter(any)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1], [100]),
        (100, [1, 1], [50, 50]),
        (100, [1, 1, 1], [34, 33, 33]),
        (101, [1, 1, 1], [34, 34, 33]),
        (1, [1, 1, 1], [1, 0, 0]),
        (2, [1, 1, 1], [1, 1, 0]),
        (1, [1, 2], [0, 1]),
        (10, [3, 3, 4], [3, 3, 4]),
        (7, [0, 1, 0], [0, 7, 0]),
        (0, [1, 2], [0, 0]),
        (5, [2, 3, 5], [1, 2, 2]),
        (MAX_MINOR, [1, 1], [MAX_MINOR // 2 + 1, MAX_MINOR // 2]),
        (MAX_MINOR, [MAX_MINOR - 1, 1], [MAX_MINOR - 1, 1]),
    ],
)
def test_left_over_units_go_to_the_parts_that_lost_most_and_among_equals_to_the_earlier(
    total: int, weights: list[int], parts: list[int]
) -> None:
    assert allocate(total, weights) == parts


@given(st.integers(0, MAX_MINOR), weight_lists)
def test_the_parts_sum_to_the_whole_and_none_is_off_by_a_unit(total: int, weights: list[int]) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1
        assert weight > 0 or part == 0


@given(st.integers(0, 10_000), weight_lists)
def test_no_part_that_lost_less_gets_a_unit_before_one_that_lost_more(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    lost = [Fraction(total * weight, whole) % 1 for weight in weights]
    extra = [part - total * weight // whole for part, weight in zip(allocate(total, weights), weights, strict=True)]
    order = sorted(range(len(weights)), key=lambda n: (-lost[n], n))
    assert [extra[n] for n in order] == sorted(extra, reverse=True)
    assert set(extra) <= {0, 1}


@given(st.integers(0, MAX_MINOR), st.integers(1, 1_000), st.integers(1, MOST_DESTINATIONS))
def test_equal_weights_differ_by_one_unit_at_most_and_the_earlier_have_it(total: int, weight: int, count: int) -> None:
    parts = allocate(total, [weight] * count)
    assert parts == sorted(parts, reverse=True)
    assert parts[0] - parts[-1] <= 1


# Resolving destinations


@pytest.mark.parametrize(
    ("destinations", "total", "parts"),
    [
        ([fixed("a", 100)], 100, [100]),
        ([fixed("a", 30), fixed("b", 70)], 100, [30, 70]),
        ([share("a", "1")], 100, [100]),
        ([share("a", "1.000000")], 7, [7]),
        ([share("a", "0.5"), share("b", "0.5")], 101, [51, 50]),
        ([share("a", "0.333333"), share("b", "0.333333"), share("c", "0.333334")], 100, [33, 33, 34]),
        ([share("a", "0.000001"), share("b", "0.999999")], 1_000_000, [1, 999_999]),
        ([share("a", "0.000001"), share("b", "0.999999")], 10, [0, 10]),
        ([remainder("a")], 100, [100]),
        ([share("a", "0.029"), remainder("b")], 1_000, [29, 971]),
        ([share("a", "0.015"), remainder("b")], 100, [1, 99]),
        ([remainder("b"), share("a", "0.999999")], 100, [1, 99]),
        ([fixed("a", 100), remainder("b")], 100, [100, 0]),
        ([share("a", "1"), remainder("b")], 100, [100, 0]),
        ([fixed("a", 25), share("b", "0.1"), share("c", "0.2"), remainder("d")], 100, [25, 10, 20, 45]),
        ([fixed("a", 30), share("b", "0.7")], 100, [30, 70]),
        ([fixed("a", 1), share("b", "0.25"), share("c", "0.25"), remainder("d")], 10, [1, 3, 2, 4]),
        ([share("a", "0.310628"), share("b", "0.188372"), remainder("c")], 10, [3, 1, 6]),
        ([share("a", "0.333333"), share("b", "0.333333"), remainder("c")], 1, [0, 0, 1]),
        ([fixed("a", MAX_MINOR - 1), remainder("b")], MAX_MINOR, [MAX_MINOR - 1, 1]),
        ([share("a", "0.5"), share("b", "0.5")], MAX_MINOR, [MAX_MINOR // 2 + 1, MAX_MINOR // 2]),
        ([share("a", "0.1"), remainder("b")], MAX_MINOR, [MAX_MINOR // 10, MAX_MINOR - MAX_MINOR // 10]),
    ],
)
def test_fixed_amounts_shares_and_a_remainder_add_up_to_the_whole(
    destinations: list[Destination], total: int, parts: list[int]
) -> None:
    assert resolved(*destinations, total=total) == parts
    assert sum(parts) == total


@st.composite
def millionths(draw: st.DrawFn) -> list[int]:
    """Shares in millionths that add up to one at most."""
    cuts = sorted(draw(st.lists(st.integers(0, MILLION), min_size=1, max_size=20, unique=True)))
    return [right - left for left, right in zip([0, *cuts], cuts, strict=False) if right > left]


@given(millionths().filter(bool), st.integers(1, MAX_MINOR))
def test_shares_beside_a_remainder_are_never_off_by_a_unit(parts: list[int], total: int) -> None:
    shares = [share(f"s{n}", in_millionths(part)) for n, part in enumerate(parts)]
    amounts = resolved(*shares, remainder("rest"), total=total)
    assert sum(amounts) == total
    exact = [Fraction(part * total, MILLION) for part in parts]
    for amount, wanted in zip(amounts, [*exact, total - sum(exact)], strict=True):
        assert abs(amount - wanted) < 1
        assert amount >= 0


@given(millionths().filter(lambda parts: 0 < sum(parts) < MILLION), st.integers(1, MAX_MINOR))
def test_shares_that_add_up_to_one_leave_nothing(parts: list[int], total: int) -> None:
    whole = [*parts, MILLION - sum(parts)]
    amounts = resolved(*[share(f"s{n}", in_millionths(part)) for n, part in enumerate(whole)], total=total)
    assert amounts == allocate(total, whole)


@given(st.lists(st.integers(1, MAX_MINOR), min_size=1, max_size=MOST_DESTINATIONS - 1), st.integers(0, MAX_MINOR))
def test_fixed_amounts_stay_as_they_are_and_the_remainder_takes_what_is_left(amounts: list[int], rest: int) -> None:
    parts = resolved(*[fixed(f"f{n}", one) for n, one in enumerate(amounts)], remainder("r"), total=sum(amounts) + rest)
    assert parts == [*amounts, rest]


@pytest.mark.parametrize(
    ("destinations", "total"),
    [
        pytest.param([fixed("a", 99)], 100, id="less than the whole"),
        pytest.param([fixed("a", 101)], 100, id="more than the whole"),
        pytest.param([fixed("a", 101), remainder("b")], 100, id="more than the whole beside a remainder"),
        pytest.param([fixed("a", MAX_MINOR - 1)], MAX_MINOR, id="one unit short near 2^53"),
        pytest.param([fixed("a", MAX_MINOR), fixed("b", 1)], MAX_MINOR, id="one unit over near 2^53"),
        pytest.param([share("a", "0.999999")], 100, id="shares short of one"),
        pytest.param([share("a", "0.999999")], MAX_MINOR, id="shares short of one near 2^53"),
        pytest.param([share("a", "0.6"), share("b", "0.6")], 100, id="shares above one"),
        pytest.param([share("a", "0.5"), share("b", "0.500001"), remainder("c")], 100, id="above one, remainder"),
        pytest.param([fixed("a", 50), share("b", "0.505")], 100, id="mixed, half a unit over"),
        pytest.param([fixed("a", 50), share("b", "0.495")], 100, id="mixed, half a unit short"),
        pytest.param([], 100, id="none"),
        pytest.param([fixed("a", 50), fixed("a", 50)], 100, id="the same twice"),
        pytest.param([share("a", "0.5"), remainder("a")], 100, id="the same twice, as share and remainder"),
        pytest.param([remainder("a"), remainder("b")], 100, id="two remainders"),
        pytest.param([Destination("a")], 100, id="nothing given"),
        pytest.param([Destination("a", 100, "1")], 100, id="amount and share"),
        pytest.param([Destination("a", 100, None, True)], 100, id="amount and remainder"),
        pytest.param([Destination("a", None, "1", True)], 100, id="share and remainder"),
    ],
)
def test_parts_that_do_not_add_up_exactly_are_refused(destinations: list[Destination], total: int) -> None:
    assert refused(*destinations, total=total).code == "splits_do_not_add_up"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0.0",
        "0.000000",
        "0.0000001",
        "1.000001",
        "1.1",
        "2",
        "-0.5",
        "+0.5",
        ".5",
        "0.",
        "00.5",
        "0,5",
        "1e-3",
        "50%",
        "1/2",
        " 0.5",
        "0.5 ",
        "0.5\n",
        "٠.٥",
        "0.٥",
        "nan",
        "inf",
        "0.1234567",
    ],
)
def test_a_share_is_a_plain_decimal_above_zero_and_up_to_one(text: str) -> None:
    refusal = refused(share("a", text), remainder("b"))
    assert refusal.code == "splits_do_not_add_up"
    assert "share" in refusal.detail


@pytest.mark.parametrize("amount_minor", [0, -1, -MAX_MINOR])
def test_a_fixed_part_is_greater_than_zero(amount_minor: int) -> None:
    refusal = refused(fixed("a", amount_minor), remainder("b"))
    assert (refusal.code, refusal.figures["account_id"]) == ("amount_not_positive", "a")


def test_a_hundred_destinations_are_accepted_and_one_more_is_not() -> None:
    hundred = [fixed(f"a{n}", 1) for n in range(MOST_DESTINATIONS - 1)] + [remainder("rest")]
    assert resolved(*hundred, total=100) == [1] * 100
    refusal = refused(*hundred, fixed("one more", 1))
    assert refusal.code == "splits_do_not_add_up"
    assert "100" in refusal.detail


def test_a_refusal_says_exactly_what_the_destinations_add_up_to() -> None:
    refusal = refused(fixed("a", 30), share("b", "0.333333"), share("c", "0.1"), total=MAX_MINOR)
    assert refusal.detail.startswith(f"The destinations come to 3903116674654707.853003 of {MAX_MINOR};")
    assert refusal.figures["shares"] == "0.433333"
    over = refused(fixed("a", MAX_MINOR), share("b", "0.000001"), total=MAX_MINOR)
    assert over.detail.startswith("The destinations come to 9007208261940245.740991 of ")


def test_a_refusal_names_what_was_asked_for() -> None:
    figures = refused(fixed("a", 30), share("b", "0.5")).figures
    assert figures == {"amount_minor": 100, "fixed_minor": 30, "shares": "0.5"}
