"""The same movements say the same in every format that a bank may send them in."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.statements.reading import Read, camt, camt_entry, mt940, ofx, ofx_transaction, read

Movement = tuple[date, int]
FIRST = date(2025, 12, 1)

MOVEMENTS = st.lists(
    st.tuples(st.integers(0, 60).map(lambda days: FIRST + timedelta(days)), st.integers(-(10**9), 10**9)), max_size=10
).map(sorted)


def written(amount_minor: int, mark: str, *, signed: bool = True) -> str:
    sign = "-" if signed and amount_minor < 0 else ""
    return f"{sign}{abs(amount_minor) // 100}{mark}{abs(amount_minor) % 100:02}"


def in_all_formats(movements: list[Movement], opening: int) -> dict[str, Read]:
    """What each format's reader makes of the movements."""
    closing = opening + sum(amount for _, amount in movements)
    return {
        "camt": read("camt", as_camt(movements, opening, closing)),
        "mt940": read("mt940", as_mt940(movements, opening, closing)),
        "ofx": read("ofx", as_ofx(movements, closing)),
        "csv": as_csv(movements, opening),
    }


def as_camt(movements: list[Movement], opening: int, closing: int) -> str:
    def mark(amount: int) -> str:
        return "DBIT" if amount < 0 else "CRDT"

    balances = [
        (code, mark(amount), written(amount, ".", signed=False))
        for code, amount in (("OPBD", opening), ("CLBD", closing))
    ]
    entries = [
        camt_entry(written(amount, ".", signed=False), mark(amount), day=f"<Dt>{day}</Dt>", ref=f"M{n}")
        for n, (day, amount) in enumerate(movements)
    ]
    return camt(*entries, balances=balances)


def as_mt940(movements: list[Movement], opening: int, closing: int) -> str:
    def mark(amount: int) -> str:
        return "D" if amount < 0 else "C"

    fields = [
        f":61:{day:%y%m%d%m%d}{mark(amount)}{written(amount, ',', signed=False)}NMSCM{n}"
        for n, (day, amount) in enumerate(movements)
    ]
    first, last = (f"{mark(one)}251231EUR{written(one, ',', signed=False)}" for one in (opening, closing))
    return mt940(*fields, opening=first, closing=last)


def as_ofx(movements: list[Movement], closing: int) -> str:
    rows = [
        ofx_transaction(written(amount, "."), f"M{n}", day=f"{day:%Y%m%d}") for n, (day, amount) in enumerate(movements)
    ]
    return ofx(*rows, balance=written(closing, "."))


def as_csv(movements: list[Movement], opening: int) -> Read:
    rows, balance = ["Tag;Betrag;Nr;Saldo"], opening
    for n, (day, amount) in enumerate(movements):
        balance += amount
        rows.append(f"{day:%d.%m.%Y};{written(amount, ',')};M{n};{written(balance, ',')}")
    columns = {"booked_on": "Tag", "amount": "Betrag", "id": "Nr", "balance": "Saldo"}
    german = {"delimiter": ";", "decimal_mark": ",", "date_format": "DD.MM.YYYY", "currency": "EUR"}
    return read("csv", "\n".join(rows), options={"columns": columns, **german})


@given(MOVEMENTS, st.integers(-(10**9), 10**9))
def test_the_same_movements_are_the_same_lines_in_every_format(movements: list[Movement], opening: int) -> None:
    found = in_all_formats(movements, opening)
    for one in found.values():
        assert [(line.booked_on, line.amount_minor) for line in one.lines] == movements
        assert one.refused == []
    names = [f"M{n}" for n in range(len(movements))]
    for format in ("camt", "ofx", "csv"):
        assert [line.line_id for line in found[format].lines] == names
    assert [line.reference for line in found["mt940"].lines] == names
    assert found["camt"].proofs == found["mt940"].proofs == ["proven"]
    assert found["ofx"].proofs == ["not_provable"]
    assert found["csv"].proofs == (["proven"] if movements else [])
