"""What Stripe's reports and the objects of its API have in common: a gross amount, a fee, and no balances."""

from dataclasses import replace

from app.domain.statement import StatementLine

DEFAULT_ACCOUNT = "stripe"
NO_BALANCES = "Stripe's reports state no balances; each payout is proved by its lines"


class NoStripeLine(ValueError):
    """A balance transaction that cannot be lines."""


def with_fee(line: StatementLine, fee_minor: int, net_minor: int) -> list[StatementLine]:
    """The line of the gross amount and, where there is one, the line of the fee; raises NoStripeLine."""
    if not line.line_id:
        raise NoStripeLine("there is no id")
    if line.amount_minor - fee_minor != net_minor:
        raise NoStripeLine(f"gross {line.amount_minor} minus fee {fee_minor} is not net {net_minor}, in minor units")
    if not fee_minor:
        return [line]
    fee = replace(line, amount_minor=-fee_minor, line_id=f"{line.line_id}/fee", kind="fee", text="", details={})
    return [line, fee]
