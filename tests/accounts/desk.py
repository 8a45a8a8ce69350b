"""A desk at which accounts are changed: over HTTP, with a service whose waiting is in the test's hands."""

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from werkzeug.test import TestResponse

from app.cache.cache import Cache
from app.ledger.account_changes import LedgerAccountChanges
from app.ledger.accounts import LedgerAccounts
from app.services.accounts.changes import AccountChanges
from app.services.accounts.directory import DirectoryPush
from app.services.accounts.hydration import Balances
from app.wiring.cache import build_cache
from app.wiring.services import build_balances, build_changes, build_engine
from tests.api.world import World
from tests.world import StepClock


class Desk:
    """Changes accounts of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = StepClock()
        self.while_waiting: Callable[[], Any] = self.drain_once
        world.services.changes = self.changes()

    def drain_once(self) -> None:
        """What a worker would do meanwhile."""
        self.world.drain.run_once()

    @cached_property
    def cache(self) -> Cache:
        return build_cache(self.world.settings)

    @cached_property
    def ledger(self) -> LedgerAccountChanges:
        return LedgerAccountChanges(build_engine(self.world.settings, "tests"))

    def push(self, cache: Any = None, ledger: Any = None) -> DirectoryPush:
        """A push as the sweep has it."""
        return DirectoryPush(cache or self.cache, ledger or self.ledger)

    def changes(self, cache: Any = None, ledger: Any = None) -> AccountChanges:
        """The service, over parts that may fail or tell tales; time passes only as it sleeps."""
        cache, ledger, balances = cache or self.cache, ledger or self.ledger, self.world.services.balances
        return build_changes(ledger, cache, balances, monotonic=self.clock, sleep=self._wait)

    def balances(self, cache: Any = None) -> Balances:
        """Balances as in another process."""
        ledger = LedgerAccounts(build_engine(self.world.settings, "tests"), self.world.settings.partitions)
        return build_balances(cache or self.cache, ledger)

    def _wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.while_waiting()

    def patch(self, account_id: str, *, key: str = "", headers: Any = None, **body: Any) -> TestResponse:
        """Ask for a change; a reason is given unless the test does."""
        body.setdefault("reason", "the customer asked")
        return self.patch_raw(account_id, body, key=key, headers=headers)

    def patch_raw(self, account_id: str, body: Any, *, key: str = "", headers: Any = None) -> TestResponse:
        """Ask for a change with exactly this body."""
        raw = json.dumps(body).encode()
        path = f"/v1/accounts/{account_id}"
        options = {"headers": headers, "data": raw, "content_type": "application/json"}
        return self.world.call("PATCH", path, key=key, **options)

    def changed(self, account_id: str, **body: Any) -> dict[str, Any]:
        """Ask for a change that must be made; returns the account."""
        response = self.patch(account_id, **body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.get_json()
        return answer

    def trail(self, account_id: str) -> list[dict[str, Any]]:
        """The changes on record."""
        data: list[dict[str, Any]] = self.world.get(f"/v1/accounts/{account_id}/changes").get_json()["data"]
        return data

    def moves(self, account_id: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """What was before and after each change."""
        return [(one["before"], one["after"]) for one in self.trail(account_id)]

    def cached_floor(self, account_id: str) -> int | None:
        """The floor that the cache guards."""
        cached = self.cache.accounts.balance(account_id)
        assert cached is not None
        return cached.funds.floor_minor

    def booked_floor(self, account_id: str) -> int | None:
        """The floor that the ledger guards."""
        [(floor,)] = self.world.sql("SELECT floor_minor FROM account_balance WHERE account_id = %s", account_id)
        return None if floor is None else int(floor)

    def floors(self, account_id: str) -> tuple[int | None, int | None]:
        """Both floors."""
        return self.cached_floor(account_id), self.booked_floor(account_id)
