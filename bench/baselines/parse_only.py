"""(e) Parsing alone: the request becomes a payment and 201 is answered. Nothing is kept: the ceiling of the server."""

from flask import Response

from bench.baselines import common


def submit() -> Response:
    """Parse and answer."""
    payment = common.parsed()
    return common.answer(payment, "none")
