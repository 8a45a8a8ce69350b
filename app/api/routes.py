"""Declaring a route: what it takes, what it answers and who may call it.

A route is declared once. The gate (`app/api/gate.py`) refuses every request that brings something else, and the OpenAPI
document (`app/api/openapi.py`) is made from the same declaration. A view sees no request: it gets a `Call` and returns
an `Answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from app.domain.actors import key_actor
from app.domain.refusals import RefusalCode
from app.services.access.api_keys import Scope

if TYPE_CHECKING:
    from app.api.context import ApiServices
    from app.api.responses import Answer
    from app.domain.origin import Origin
    from app.services.access.api_keys import Caller

T = TypeVar("T")
B = TypeVar("B")

OUTSIDE_OF_V1 = frozenset({"/healthz", "/readyz", "/metrics"})
REFERENCE = "/v1/reference"
"""The one path below /v1 that is a page: people look for the reference beside the document that it is made from."""


def is_of_api(path: str) -> bool:
    """Whether a path is the API's to answer; every other one is for people."""
    return (path.startswith("/v1/") and path != REFERENCE) or path in OUTSIDE_OF_V1 or path == "/v1"


LARGEST_BODY = 1024 * 1024
"""Bytes of a request's body, unless its route says otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Parameter(Generic[T]):
    """A query parameter. `read` turns its text into a value or raises Refused; without it the value is `default`.

    `refuses` are the codes of what `read` and the view refuse for it.
    """

    name: str
    read: Callable[[str], T]
    default: T
    schema: Mapping[str, Any]
    description: str = ""
    required: bool = False
    refuses: tuple[RefusalCode, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Header(Generic[T]):
    """A request header that a route honours. `read` as for a parameter; without the header the value is `default`."""

    name: str
    read: Callable[[str], T]
    default: T
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class AnswerHeader:
    """A header of answers, for the document."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Text:
    """A body that is not JSON."""

    media_type: str


@dataclass(frozen=True, slots=True)
class Body(Generic[B]):
    """The JSON body that a route takes: a msgspec struct. `optional`: an absent one counts as `{}`.

    `read_as` is another struct to decode, where the view reads some of its parts one by one; `largest` is the bound in
    bytes.
    """

    kind: type[Any]
    read_as: type[B] | None = None
    optional: bool = False
    largest: int = LARGEST_BODY


@dataclass(frozen=True, slots=True)
class Lines:
    """What one line of NDJSON asks and answers, where a route takes a stream of them instead of one document."""

    asked: type
    answered: type


Kinds = type | tuple[type, ...] | Text | None
"""What a route answers with: one kind of body, one of several, text, or none."""


class Source(Protocol):
    """Where the bytes of a streamed body come from: a socket in one server, a queue in another."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""


@dataclass(slots=True)
class Call(Generic[B]):
    """One request, as a view sees it: who asks, and values that were read by the route's declaration."""

    here: ApiServices
    route: Route
    path: Mapping[str, str]
    """The variables of the path, decoded."""
    body: B
    caller: Caller | None
    values: Mapping[Parameter[Any] | Header[Any], Any]
    origin: Origin
    stream: Source | None = None
    """The body of a request that sends lines instead of one document."""
    key: str = field(default="", repr=False)
    """The API key as the request presents it, for what the ledger checks by itself."""

    def __getitem__(self, declared: Parameter[T] | Header[T]) -> T:
        """The value of a parameter or header that the route declares."""
        value: T = self.values.get(declared, declared.default)
        return value

    def has(self, declared: Parameter[Any] | Header[Any]) -> bool:
        """Whether the request brought it."""
        return declared in self.values

    @property
    def request_id(self) -> str:
        """The name of this call: the client's, or one of ours."""
        return self.origin.request_id

    @property
    def may_read(self) -> bool:
        """Whether the caller may read balances; without, no answer may tell one on the side."""
        return self.caller is None or self.caller.may(Scope.ACCOUNTS_READ)

    @property
    def entities(self) -> frozenset[str] | None:
        """The entities that the caller may act for; None is all of them."""
        return None if self.caller is None else self.caller.entities

    @property
    def actor(self) -> str:
        """Who asks, as the ledger records it."""
        assert self.caller is not None
        return key_actor(self.caller.key_id)


View = Callable[[Call[Any]], "Answer"]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One declared route and its view."""

    name: str
    """The operation's id in the OpenAPI document: the name of the view."""
    method: str
    path: str
    """As in OpenAPI: `/v1/accounts/{account_id}`. An `account_id` may hold slashes."""
    view: View
    summary: str
    scope: Scope | None
    answers: Mapping[int, Kinds]
    parameters: tuple[Parameter[Any], ...] = ()
    headers: tuple[Header[Any], ...] = ()
    body: Body[Any] | None = None
    lines: Lines | None = None
    paged: bool = False
    sends: tuple[AnswerHeader, ...] = ()
    """What its answers tell in headers."""
    refuses: frozenset[RefusalCode] = frozenset()
    """The codes that its view answers; `app/api/route_refusals.py` adds those of the gate."""
    keeps_answer: bool = True
    """Whether the audit keeps the body of an answer; not where it tells nothing that could be asked for later."""
    is_stream: bool = False
    """Whether its answer goes on for as long as somebody listens, and so is sent apart from all others."""
    of_installation: bool = False
    """Whether it is about the whole installation, and so not for a key that may act for some entities only."""

    @property
    def changed_status(self) -> int:
        """The status of an answer to a request that has changed something."""
        return next(iter(self.answers))

    @property
    def variables(self) -> list[str]:
        """The variables of the path, in order."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


class Routes:
    """The routes of one resource, in the order of their declaration."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def add(self, method: str, path: str, summary: str, *, scope: Scope | None, **more: Any) -> Callable[[View], View]:
        """Declare the view below as a route; `more` are the fields of `Route`."""

        def declare(view: View) -> View:
            name = getattr(view, "__name__", "")
            self.all.append(Route(name, method, path, view, summary, scope, **more))
            return view

        return declare
