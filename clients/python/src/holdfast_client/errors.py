"""What goes wrong, in three kinds: it was refused, it could not be tried, or nobody knows yet whether it was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class HoldfastError(Exception):
    """A request that did not succeed; `code` is the stable word for why, `detail` the sentence for people."""

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        status: int | None = None,
        retryable: bool = False,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status = status
        """The HTTP status; None if no answer came."""
        self.retryable = retryable
        """Whether the same request, with the same external id, may succeed later."""
        self.figures: Mapping[str, Any] = figures or {}
        """What explains it: for `insufficient_funds` the `available_minor`, and so on."""
        self.external_id: str | None = None
        """The external id of the request, to repeat it with."""
        self.request_id: str | None = None
        """The name of the request in the server's log and audit."""

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class Refused(HoldfastError):
    """The request was decided, and the answer is no: nothing was moved. Each code has a class in `refusals`."""

    of_code: ClassVar[str] = ""


class Unavailable(HoldfastError):
    """Nothing was done, because a server was away or busy until the deadline. Repeat it later, with the same id."""


class OutcomeUnknown(HoldfastError):
    """It may have been done or not; only a repeat with the same external id tells, and moves nothing twice."""


class UnexpectedAnswer(HoldfastError):
    """Something answered that does not speak Holdfast's API: look at the address."""


class InvalidWebhook(Exception):
    """A webhook that was not sent by Holdfast, or too long ago: do not act on it."""
