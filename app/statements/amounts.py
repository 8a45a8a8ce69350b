"""Amounts as banks write them, into whole minor units: exact, or refused. Nothing is rounded and nothing is guessed."""

import re

from app.domain.money import MAX_MINOR, MOST_MINOR_UNITS

LONGEST = 60
"""Characters: far more than any amount has, and few enough to show in a message."""

_SPACES = re.compile("[ \u00a0\u202f\u2009]")
_DIGITS = re.compile(r"\d+", re.ASCII)
_GROUPS = re.compile(r"\d{1,3}(?:([.,' ])\d{3})(?:\1\d{3})*", re.ASCII)

WITHDRAWN = {
    **dict.fromkeys(("ATS", "CYP", "DEM", "EEK", "FIM", "FRF", "HRK", "IEP", "LTL", "LVL", "MTL", "NLG"), 2),
    **dict.fromkeys(("SIT", "SKK"), 2),
    **dict.fromkeys(("BEF", "ESP", "GRD", "ITL", "LUF", "PTE"), 0),
}
"""Decimal places of currencies that ISO 4217 has withdrawn, and that old statements are in."""

STRIPE_API = {"ISK": 2, "UGX": 2, "MGA": 0}
"""Decimal places of the amounts in Stripe's API where they are not those of ISO 4217.

Stripe keeps ISK and UGX at two decimals for compatibility, always with zeros, and counts MGA in whole ariary. HUF and
TWD have two decimals as in ISO 4217; only their payouts are whole.
"""


class InexactAmount(ValueError):
    """A text that is no amount, or not one amount only; the message completes the sentence "the amount …"."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"the amount {text[:LONGEST]!r} {why}")


def minor(text: str, minor_units: int, *, decimal_mark: str = "", group_mark: str = "") -> int:
    """The amount in minor units; raises InexactAmount.

    Without a `decimal_mark` the text has to say by itself which mark it is: `1.400,82` and `1,400.82` do. `12.345` does
    not, unless the currency has three decimals: it may be twelve thousand.
    """
    if len(text) > LONGEST:
        raise InexactAmount(text, "is too long")
    sign, body = _signed(text)
    whole, fraction = _split(text, body, minor_units, decimal_mark, group_mark)
    significant = fraction.rstrip("0")
    if len(significant) > minor_units:
        raise InexactAmount(text, f"has more than the currency's {minor_units} decimals")
    amount_minor: int = int(whole + significant.ljust(minor_units, "0") or "0")
    if amount_minor > MAX_MINOR:
        raise InexactAmount(text, "is out of range")
    return sign * amount_minor


def whole_minor(text: str) -> int:
    """An amount that is written in minor units already; raises InexactAmount."""
    return minor(text, 0, decimal_mark="\0")


def from_other_scale(amount: int, decimals: int, minor_units: int) -> int:
    """An amount with so many decimals, as minor units; raises InexactAmount if that does not come out even."""
    assert 0 <= decimals <= MOST_MINOR_UNITS
    scaled: int = amount * 10**minor_units // 10**decimals
    rest = amount * 10**minor_units - scaled * 10**decimals
    if rest or abs(scaled) > MAX_MINOR:
        raise InexactAmount(str(amount), f"with {decimals} decimals does not fit {minor_units}")
    return scaled


def _signed(text: str) -> tuple[int, str]:
    body = _SPACES.sub(" ", text.strip()).replace("\u2212", "-").replace("\u2019", "'")
    if body.endswith("-") and body[:1] not in ("-", "+"):
        body = "-" + body[:-1].rstrip()
    sign = -1 if body.startswith("-") else 1
    return sign, (body[1:].lstrip() if body[:1] in ("-", "+") else body)


def _split(text: str, body: str, minor_units: int, decimal_mark: str, group_mark: str) -> tuple[str, str]:
    """The digits before and after the decimal mark."""
    mark = decimal_mark or _mark_in(text, body, minor_units)
    whole, found, fraction = body.partition(mark) if mark else (body, "", "")
    if not whole and not fraction:
        raise InexactAmount(text, "has no digits")
    if fraction and not _DIGITS.fullmatch(fraction):
        raise InexactAmount(text, "is not a number")
    if whole and not _DIGITS.fullmatch(whole):
        whole = _ungrouped(text, whole, group_mark, is_free=not decimal_mark, decimal_mark=found)
    return whole, fraction


def _ungrouped(text: str, whole: str, group_mark: str, *, is_free: bool, decimal_mark: str) -> str:
    groups = _GROUPS.fullmatch(whole)
    if groups is None:
        raise InexactAmount(text, "is not a number")
    if groups[1] != group_mark and not (is_free and groups[1] != decimal_mark):
        raise InexactAmount(text, f"has {groups[1]!r} between its digits")
    return whole.replace(groups[1], "")


def _mark_in(text: str, body: str, minor_units: int) -> str:
    """The decimal mark of a text that nobody has described: the last of its marks, if it can be no other."""
    marks = [one for one in body if one in ".,"]
    if not marks:
        return ""
    mark = marks[-1]
    if marks.count(mark) > 1:
        if len(set(marks)) > 1:
            raise InexactAmount(text, "has its marks in no order")
        return ""  # 1.234.567 has groups only
    decimals = len(body) - body.index(mark) - 1
    is_sole = len(marks) == 1 and not any(one in body for one in " '")
    if is_sole and decimals == 3 and minor_units != 3 and _GROUPS.fullmatch(body):
        raise InexactAmount(text, f"may have three decimals or a thousands mark; the currency has {minor_units}")
    return mark
