"""Changes of accounts whose maker is killed: nothing of them stays."""

from typing import Any

import pytest

from app.domain.account_changes import AccountPatch
from app.domain.accounts import AccountStatus
from app.domain.refusals import Refusal
from app.services.accounts.recovery import PATIENCE_S, ChangeRecovery
from tests.accounts.desk import Desk
from tests.api.world import BANK, World, assert_problem
from tests.services.faults import Overridden


class Killed(BaseException):
    """The process ends here, and no line of it runs any more."""


class Dying:
    """A ledger that is reached so many times; then the process that uses it is dead."""

    def __init__(self, inner: Any, *, lives: int) -> None:
        self._inner = inner
        self._lives = lives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def changing(self, account_id: str) -> Any:
        self._lives -= 1
        if self._lives < 0:
            raise Killed
        return self._inner.changing(account_id)


def killed_in(desk: Desk, account_id: str, patch: AccountPatch, *, ledger: Any = None, cache: Any = None) -> None:
    """Change an account, and be killed over it."""
    with pytest.raises(Killed):
        desk.changes(ledger=ledger, cache=cache).change(account_id, patch, "key:test")


def recover(desk: Desk, *, patience_s: float = 0.0) -> int:
    """What the scheduler does, when the patience with changes is over."""
    return ChangeRecovery(desk.ledger, desk.changes(), patience_s).run_once()


def assert_recovered(desk: Desk, world: World) -> None:
    """Nothing is unfinished, and cache and ledger agree in every way."""
    assert world.sql("SELECT count(*) FROM unfinished_change") == [(0,)]
    assert recover(desk) == 0
    world.assert_proven()


CUT = AccountPatch({"overdraft_limit_minor": 0}, "a cut")


def test_a_cut_that_never_reached_the_ledger_leaves_no_stricter_floor(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    world.balance("alice")
    limit = desk.cache.accounts.limit

    def once(*arguments: Any) -> Any:
        limit(*arguments)
        raise Killed

    killed_in(desk, "alice", CUT, cache=Overridden(desk.cache, limit=once))
    assert desk.floors("alice") == (0, -50)
    assert recover(desk, patience_s=PATIENCE_S) == 0, "it may still be under way"
    assert recover(desk) == 1
    assert desk.floors("alice") == (-50, -50)
    [(actor, detail)] = world.sql("SELECT actor, detail FROM audit_event WHERE action = 'account.floor.mended'")
    assert (actor, detail["begun_by"]) == ("clock", "key:test")
    assert (detail["cache_floor_minor"], detail["ledger_floor_minor"]) == (0, -50)
    assert world.pay("alice", BANK, 150).status_code == 201
    assert_recovered(desk, world)


@pytest.mark.parametrize("lives", [1, 2])
def test_a_change_of_the_limit_that_is_in_the_ledger_is_brought_to_the_cache(
    desk: Desk, world: World, lives: int
) -> None:
    """Killed before it has begun, or after its commit."""
    world.funded("alice", 100, overdraft_limit_minor=50)
    world.balance("alice")
    raised = AccountPatch({"overdraft_limit_minor": 80}, "a raise")
    killed_in(desk, "alice", raised, ledger=Dying(desk.ledger, lives=lives))
    assert desk.floors("alice") == (-50, -50 if lives == 1 else -80)
    assert recover(desk) == 1
    assert desk.floors("alice") == ((-50, -50) if lives == 1 else (-80, -80))
    assert_recovered(desk, world)


@pytest.mark.parametrize(
    "patch",
    [
        AccountPatch({"status": AccountStatus.CLOSED}, "to close it"),
        AccountPatch({"overdraft_limit_minor": 0}, "a forced cut", force=True),
    ],
)
@pytest.mark.parametrize("status", ["open", "frozen_credits"])
def test_an_account_that_was_paused_takes_payments_again(
    desk: Desk, world: World, patch: AccountPatch, status: str
) -> None:
    world.account("alice", overdraft_limit_minor=50)
    world.account(BANK, "asset")
    if status != "open":
        desk.changed("alice", status=status)
    world.balance("alice")
    is_closing = patch.fields.keys() == {"status"}
    killed_in(desk, "alice", patch, ledger=Dying(desk.ledger, lives=3 if is_closing else 2))
    assert_problem(world.pay("alice", BANK, 1), 409, "account_paused", retryable=True)
    assert recover(desk, patience_s=PATIENCE_S) == 0
    assert recover(desk) == (1 if is_closing else 2)
    assert world.get("/v1/accounts/alice").get_json()["status"] == status
    assert world.pay("alice", BANK, 1).status_code == 201
    assert [one["after"] for one in desk.trail("alice")] == ([] if status == "open" else [{"status": status}])
    assert_recovered(desk, world)


@pytest.mark.parametrize("status", ["open", "frozen_credits"])
def test_an_account_that_an_earlier_version_froze_for_a_moment_gets_its_status_back(
    desk: Desk, world: World, status: str
) -> None:
    world.account("alice")
    if status != "open":
        desk.changed("alice", status=status)
    desk.changed("alice", status="frozen", reason="to change it in quiet")
    note = "INSERT INTO unfinished_change (account_id, actor, frozen_in, former_status) VALUES (%s, %s, %s, %s)"
    world.sql(note, "alice", "key:test", desk.trail("alice")[-1]["change_id"], status)
    assert recover(desk) == 1
    assert world.get("/v1/accounts/alice").get_json()["status"] == status
    last = desk.trail("alice")[-1]
    assert (last["changed_by"], last["before"], last["after"]) == ("clock", {"status": "frozen"}, {"status": status})
    assert_recovered(desk, world)


def test_what_somebody_has_changed_since_stays_as_they_made_it(desk: Desk, world: World) -> None:
    world.account("alice")
    world.balance("alice")
    killed_in(desk, "alice", AccountPatch({"status": AccountStatus.CLOSED}, "x"), ledger=Dying(desk.ledger, lives=3))
    desk.changed("alice", status="frozen_debits")
    assert recover(desk) == 1
    assert world.get("/v1/accounts/alice").get_json()["status"] == "frozen_debits"
    assert_recovered(desk, world)


def test_a_change_that_recovery_overtakes_is_given_up(desk: Desk, world: World) -> None:
    world.account("alice", overdraft_limit_minor=50)
    world.account(BANK, "asset")
    world.pay(BANK, "alice", 10)

    def overtaken() -> None:
        recover(desk)
        world.drained()

    desk.while_waiting = overtaken
    outcome = desk.patch("alice", overdraft_limit_minor=0, force=True).get_json()
    assert outcome["code"] == "concurrency_retry_exhausted"
    shown = world.get("/v1/accounts/alice").get_json()
    assert (shown["status"], shown["overdraft_limit_minor"]) == ("open", 50)
    world.sql("UPDATE unfinished_change SET begun_at = now() - interval '1 hour'")
    recover(desk)
    assert_recovered(desk, world)


def test_changes_that_end_in_order_leave_nothing_to_recover(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    world.balance("alice")
    desk.changed("alice", overdraft_limit_minor=80)
    desk.changed("alice", overdraft_limit_minor=0, force=True)
    assert isinstance(desk.changes().change("alice", AccountPatch({"status": AccountStatus.CLOSED}, "x"), "a"), Refusal)
    assert_recovered(desk, world)
