"""Readiness: whether this installation can take payments, and what an acknowledged payment survives on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain.errors import Fault, Misconfigured

if TYPE_CHECKING:
    from app.cache.cache import Cache

DURABILITY = {
    "always": "cache_fsync_always",
    "everysec": "cache_fsync_everysec",
    "no": "cache_memory_only",
    "unknown": "cache_unknown",
}
"""What a pending payment survives, by the cache's appendfsync setting."""

DURABILITY_KNOWN_S = 10.0
"""An operator may change appendfsync on a running server; answers follow within this time."""

DURABLE_IN_LEDGER = "ledger"
"""What a posted payment survives."""


@dataclass(slots=True)
class Check:
    """One thing that must be in order."""

    ok: bool
    detail: str


@dataclass(slots=True)
class Readiness:
    """All checks; ready when all are in order."""

    checks: dict[str, Check] = field(default_factory=dict)
    durability: str = DURABILITY["unknown"]
    backlog: int | None = None
    """How many intents wait for the ledger; None if the cache does not answer."""

    @property
    def ready(self) -> bool:
        """Whether payments can be taken."""
        return all(check.ok for check in self.checks.values())


class ReadinessProbe:
    """Looks at the cache, the ledger, its migrations and the workers."""

    def __init__(
        self,
        cache: Cache,
        check_identity: Callable[[], int],
        directory_version: Callable[[], int],
        schema_is_current: Callable[[], bool],
        workers: Callable[[], int],
        *,
        monotonic: Callable[[], float],
        allow_unsafe_cache: bool,
    ) -> None:
        self._cache = cache
        self._check_identity = check_identity
        self._directory_version = directory_version
        self._schema_is_current = schema_is_current
        self._workers = workers
        self._allow_unsafe_cache = allow_unsafe_cache
        self._monotonic = monotonic
        self._durability = DURABILITY["unknown"]
        self._learned_at = float("-inf")

    def durability(self) -> str:
        """What a pending payment survives, as the cache has said within the last seconds."""
        if self._monotonic() - self._learned_at > DURABILITY_KNOWN_S:
            try:
                self._durability = DURABILITY[self._cache.inspection.durability()[0]]
                self._learned_at = self._monotonic()
            except Fault:
                return DURABILITY["unknown"]
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
        result.checks["cache"] = _checked(self._look_at_cache)
        result.checks["cache_identity"] = _checked(self._look_at_identity)
        result.checks["ledger"] = _checked(self._look_at_ledger)
        result.checks["migrations"] = _checked(self._look_at_migrations)
        result.checks["workers"] = _checked(self._look_at_workers)
        if result.checks["cache"].ok:
            self._learned_at = float("-inf")
            result.backlog = sum(self._cache.outbox.backlog().values())
        result.durability = self.durability()
        return result

    def _look_at_cache(self) -> str:
        self._cache.inspection.ping()
        self.require_safe_cache()
        return "answers"

    def _look_at_identity(self) -> str:
        return f"open, generation {self._check_identity()}"

    def _look_at_ledger(self) -> str:
        return f"answers; directory version {self._directory_version()}"

    def _look_at_migrations(self) -> str:
        if not self._schema_is_current():
            raise Misconfigured("the schema is not up to date; run `python3 -m app migrate`")
        return "up to date"

    def _look_at_workers(self) -> str:
        count = self._workers()
        if not count:
            raise Misconfigured("no drain worker is running; payments stay pending")
        return f"{count} draining"


def _checked(look: Callable[[], str]) -> Check:
    try:
        return Check(True, look())
    except Fault as fault:
        return Check(False, str(fault))
