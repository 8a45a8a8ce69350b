"""Whether this installation can take payments, and what an acknowledgement means on it.

It is judged by what happens, not by what is there: a drain counts if it was heard a moment ago, and posting works if
rounds succeed. Nothing turns red that heals by itself within a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from app.domain.errors import CacheUnavailable, Fault, LedgerUnavailable, Misconfigured, OutcomeUnknown
from app.domain.read_models import Durability
from app.domain.timestamps import CLOCK_BOUND_S
from app.domain.webhooks import Lag
from app.domain.wording import clock_in_words, counted, sized, span

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.cache.server_states import CacheServer
    from app.ledger.engine import LedgerServer

T = TypeVar("T")

DURABILITY = {
    "always": Durability.CACHE_FSYNC_ALWAYS,
    "everysec": Durability.CACHE_FSYNC_EVERYSEC,
    "no": Durability.CACHE_MEMORY_ONLY,
    "unknown": Durability.CACHE_UNKNOWN,
}
"""What a pending payment survives, by the cache's appendfsync setting."""

DURABILITY_KNOWN_S = 10.0
"""An operator may change appendfsync on a running server; answers follow within this time."""

HEARD_S = 3.0
"""A drain speaks twice a second; one that was not heard for this long is gone, or hangs."""

STALLED_S = 8.0
"""Posting stands still if an intent waits for this long and no round succeeds meanwhile. If a drain hangs, another one
takes over after some five seconds."""


class ReadinessStatus(StrEnum):
    """Whether payments are taken; `degraded`: they are, but something that is not required fails."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"


@dataclass(slots=True)
class Check:
    """One thing that must be in order. What is not `required` only makes the installation slower."""

    ok: bool
    detail: str
    required: bool = True


@dataclass(slots=True)
class Readiness:
    """All checks; ready when all required ones are in order."""

    checks: dict[str, Check] = field(default_factory=dict)
    durability: Durability = Durability.CACHE_UNKNOWN
    backlog: int | None = None
    """How many intents wait for the ledger; None if the cache does not answer."""

    @property
    def ready(self) -> bool:
        """Whether payments can be taken."""
        return all(check.ok for check in self.checks.values() if check.required)

    @property
    def status(self) -> ReadinessStatus:
        """How it stands, by its checks."""
        if not self.ready:
            return ReadinessStatus.NOT_READY
        all_in_order = all(check.ok for check in self.checks.values())
        return ReadinessStatus.READY if all_in_order else ReadinessStatus.DEGRADED


class OldestIntent:
    """How long the oldest intents have waited, even if their stream ids lie in the future of the clock."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._first_seen: dict[tuple[int, str], float] = {}

    def age_s(self, oldest: dict[int, str], clock_ms: int) -> float | None:
        """The age of the oldest of these intents, by partition and stream id; None if there are none."""
        now = self._monotonic()
        self._first_seen = {one: self._first_seen.get(one, now) for one in oldest.items()}
        by_clock = [(clock_ms - int(stream_id.partition("-")[0])) / 1000 for stream_id in oldest.values()]
        seen = [now - first for first in self._first_seen.values()]
        return max([0.0, *by_clock, *seen]) if oldest else None


class ReadinessProbe:
    """Looks at cache, ledger, clocks and drains."""

    def __init__(
        self,
        cache: Cache,
        check_identity: Callable[[], int],
        directory_version: Callable[[], int],
        schema_is_current: Callable[[], bool],
        ledger_server: Callable[[], LedgerServer],
        ping_queue: Callable[[], None],
        webhook_lags: Callable[[], Mapping[str, Lag]],
        *,
        monotonic: Callable[[], float],
        allow_unsafe_cache: bool,
    ) -> None:
        self._cache = cache
        self._check_identity = check_identity
        self._directory_version = directory_version
        self._schema_is_current = schema_is_current
        self._ledger_server = ledger_server
        self._ping_queue = ping_queue
        self._webhook_lags = webhook_lags
        self._allow_unsafe_cache = allow_unsafe_cache
        self._monotonic = monotonic
        self._oldest = OldestIntent(monotonic)
        self._durability = Durability.CACHE_UNKNOWN
        self._learned_at = float("-inf")

    def durability(self) -> Durability:
        """What a pending payment survives, as the cache has said within the last seconds."""
        if self._monotonic() - self._learned_at > DURABILITY_KNOWN_S:
            try:
                self._durability = DURABILITY[self._cache.inspection.durability()[0]]
                self._learned_at = self._monotonic()
            except Fault:
                return Durability.CACHE_UNKNOWN
        return self._durability

    def require_safe_cache(self) -> None:
        """Refuse to work on a cache that loses money silently, unless told to."""
        fsync, eviction = self._cache.inspection.durability()
        problems = []
        if fsync == "no":
            problems.append("its append-only file is off, so a restart loses every pending payment")
        if eviction not in ("noeviction", "unknown"):
            problems.append(f"its maxmemory-policy is {eviction}, so it may evict balances")
        if problems and not self._allow_unsafe_cache:
            raise Misconfigured(
                f"The cache is not safe for money: {' and '.join(problems)}. "
                "Set appendonly yes and maxmemory-policy noeviction, or HOLDFAST_ALLOW_UNSAFE_CACHE=1 to run anyway."
            )

    def look(self) -> Readiness:
        """Look at everything now."""
        result = Readiness()
        cache = _asked(self._cache.inspection.server)
        ledger = _asked(self._ledger_server)
        result.checks["cache"] = _checked(lambda: self._look_at_cache(cache))
        result.checks["cache_identity"] = _checked(self._look_at_identity)
        result.checks["cache_memory"] = _checked(lambda: self._look_at_memory(cache))
        result.checks["ledger"] = _checked(lambda: self._look_at_ledger(ledger))
        result.checks["migrations"] = _checked(self._look_at_migrations)
        result.checks["workers"] = _checked(self._look_at_workers)
        result.checks["posting"] = _checked(lambda: self._look_at_posting(cache))
        result.checks["clocks"] = _checked(lambda: _look_at_clocks(cache, ledger))
        result.checks["queue"] = _checked(self._look_at_queue, required=False)
        result.checks["webhooks"] = _checked(lambda: self._look_at_webhooks(ledger), required=False)
        if not isinstance(cache, Fault):
            self._learned_at = float("-inf")
            result.backlog = self._backlog()
        result.durability = self.durability()
        return result

    def _backlog(self) -> int | None:
        try:
            return sum(self._cache.outbox.backlog().values())
        except Fault:
            return None

    def _look_at_cache(self, cache: CacheServer | Fault) -> str:
        server = _told(cache)
        if not server.is_primary:
            raise CacheUnavailable(
                f"the cache is a replica (role {server.role}) and takes no writes; "
                "promote it, or have its name lead to the primary"
            )
        self.require_safe_cache()
        return "answers"

    def _look_at_identity(self) -> str:
        return f"open, generation {self._check_identity()}"

    def _look_at_memory(self, cache: CacheServer | Fault) -> str:
        if isinstance(cache, Fault):
            return "unknown"
        if not self._cache.inspection.has_room(cache):
            raise CacheUnavailable(
                f"{sized(cache.used_bytes)} of {sized(cache.limit_bytes)} are used, and the rest is kept for settling; "
                "new payments get 503 cache_full: raise maxmemory, or wait until the backlog is posted"
            )
        limit = f"of {sized(cache.limit_bytes)} are used" if cache.limit_bytes else "are used, and no limit is set"
        return f"{sized(cache.used_bytes)} {limit}"

    def _look_at_ledger(self, ledger: LedgerServer | Fault) -> str:
        server = _told(ledger)
        if server.is_standby or server.is_read_only:
            state = "a standby" if server.is_standby else "read-only"
            raise LedgerUnavailable(
                f"the ledger is {state} and takes no writes; have DATABASE_URL lead to the primary, "
                "or reset default_transaction_read_only"
            )
        return f"answers; directory version {self._directory_version()}"

    def _look_at_migrations(self) -> str:
        if not self._schema_is_current():
            raise Misconfigured("the schema is not up to date; run `python3 -m app migrate`")
        return "up to date"

    def _look_at_workers(self) -> str:
        heard = [one for one in self._cache.heartbeats.all() if one.age_s <= HEARD_S]
        if not heard:
            raise Misconfigured(
                f"no drain was heard within {HEARD_S:.0f} s; payments stay pending: start `python3 -m workers.drain`"
            )
        return f"{counted(len(heard), 'drain')} at work"

    def _look_at_posting(self, cache: CacheServer | Fault) -> str:
        """Posting works unless an intent waits for long and no round succeeds."""
        if isinstance(cache, Fault):
            return "unknown"
        age_s = self._oldest.age_s(self._cache.outbox.oldest(), cache.clock_ms)
        if age_s is None:
            return "nothing waits"
        heartbeats = self._cache.heartbeats.all()
        succeeded_s = min((one.idle_s for one in heartbeats if one.idle_s is not None), default=float("inf"))
        if age_s < STALLED_S or succeeded_s < STALLED_S:
            return f"the oldest intent waits for {span(age_s)}"
        failures = {one.failure for one in heartbeats if one.failure and one.age_s <= HEARD_S}
        why = "; ".join(sorted(failures)) or "no drain reports a failure: look for one that hangs"
        raise LedgerUnavailable(f"nothing is posted, and the oldest intent waits for {span(age_s)} ({why})")

    def _look_at_queue(self) -> str:
        try:
            self._ping_queue()
        except (CacheUnavailable, OutcomeUnknown) as fault:
            raise CacheUnavailable(
                f"the queues' server does not answer: payments are posted up to a second later, and background "
                f"reconciliation pauses ({fault})"
            ) from fault
        return "answers"

    def _look_at_webhooks(self, ledger: LedgerServer | Fault) -> str:
        """Events are read for every endpoint."""
        if isinstance(ledger, Fault):
            return "unknown"
        lags = self._webhook_lags().items()
        unread = [(one.seconds, endpoint_id) for endpoint_id, one in lags if one.is_left_unread]
        if unread:
            seconds, endpoint_id = max(unread)
            raise Misconfigured(
                f"for {span(seconds)} nobody has read the events that {endpoint_id} is to be told: "
                "start `python3 -m workers.deliver`, or look for one that hangs; or the endpoint is too slow"
            )
        return "no events stay unread"


def _look_at_clocks(cache: CacheServer | Fault, ledger: LedgerServer | Fault) -> str:
    known = {
        name: server.clock_ahead_s
        for name, server in (("cache", cache), ("ledger", ledger))
        if not isinstance(server, Fault)
    }
    told = ", ".join(f"{name} {clock_in_words(ahead_s)}" for name, ahead_s in known.items())
    if any(abs(ahead_s) > CLOCK_BOUND_S for ahead_s in known.values()):
        raise Misconfigured(
            f"clocks differ from this machine's by more than {CLOCK_BOUND_S:.0f} s: {told}; synchronize all machines"
        )
    return told or "unknown"


def _asked(look: Callable[[], T]) -> T | Fault:
    """What a server says, or the fault with which it does not."""
    try:
        return look()
    except Fault as fault:
        return fault


def _told(answer: T | Fault) -> T:
    if isinstance(answer, Fault):
        raise answer
    return answer


def _checked(look: Callable[[], str], *, required: bool = True) -> Check:
    try:
        return Check(True, look(), required)
    except Fault as fault:
        return Check(False, str(fault), required)
