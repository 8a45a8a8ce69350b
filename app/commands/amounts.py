"""Amounts as commands print them."""


def as_money(amount_minor: int, minor_units: int) -> str:
    """Minor units as people write them, with a point."""
    whole, rest = divmod(abs(amount_minor), 10**minor_units)
    fraction = f".{rest:0{minor_units}}" if minor_units else ""
    return f"{'-' if amount_minor < 0 else ''}{whole:,}{fraction}"
