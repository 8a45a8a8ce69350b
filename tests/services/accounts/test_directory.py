"""The directory of a process: facts are read once, and many at a time after a change."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from app.domain.accounts import AccountFacts
from app.services.accounts.directory import READ_AHEAD, AccountDirectory
from tests.builders import facts
from tests.patience import until


class CountingLedger:
    """A ledger in which every account exists but `nobody`; it notes what is read."""

    def __init__(self) -> None:
        self.version = 1
        self.reads: list[list[str]] = []

    def facts(self, account_ids: Iterable[str]) -> dict[str, AccountFacts]:
        self.reads.append(list(account_ids))
        return {one: facts(one) for one in self.reads[-1] if one != "nobody"}

    def directory_version(self) -> int:
        return self.version

    def last_position(self, partition: int) -> str:
        raise NotImplementedError


def test_an_account_is_read_once_and_one_that_does_not_exist_each_time() -> None:
    ledger = CountingLedger()
    snapshot = AccountDirectory(ledger).snapshot()
    assert set(snapshot.facts(["alice", "nobody"])) == {"alice"}
    assert set(snapshot.facts(["alice", "nobody"])) == {"alice"}
    assert sorted(ledger.reads[0]) == ["alice", "nobody"]
    assert ledger.reads[1:] == [["nobody"]]


def test_after_a_change_the_accounts_in_use_are_read_again_many_at_a_time() -> None:
    ledger = CountingLedger()
    directory = AccountDirectory(ledger)
    names = [f"account-{number}" for number in range(2 * READ_AHEAD)]
    directory.snapshot().facts(names)
    ledger.version = 2
    ledger.reads.clear()
    fresh = directory.refresh()
    assert fresh.version == 2
    for name in reversed(names):
        assert fresh.facts([name])[name].account_id == name
    assert len(ledger.reads) == 2
    assert sorted(one for read in ledger.reads for one in set(read)) == sorted(names)


def test_two_changes_in_a_row_lose_no_account_in_use() -> None:
    ledger = CountingLedger()
    directory = AccountDirectory(ledger)
    directory.snapshot().facts(["alice", "bob"])
    directory.refresh()
    fresh = directory.refresh()
    ledger.reads.clear()
    fresh.facts(["carol"])
    assert sorted(ledger.reads[0]) == ["alice", "bob", "carol"]


class HeldLedger(CountingLedger):
    """A ledger whose first look-up lasts until all other callers are queued."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = Event(), Event()

    def facts(self, account_ids: Iterable[str]) -> dict[str, AccountFacts]:
        found = super().facts(account_ids)
        self.entered.set()
        assert self.go.wait(30)
        return found


def test_accounts_that_several_payments_need_at_once_are_read_together() -> None:
    ledger = HeldLedger()
    directory = AccountDirectory(ledger)
    snapshot = directory.snapshot()
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(snapshot.facts, ["alice", "bob"])
        assert ledger.entered.wait(30)
        others = [threads.submit(snapshot.facts, names) for names in (["carol"], ["dave", "carol"], ["nobody"])]
        until(lambda: directory.look_ups.waiting == len(others))
        ledger.go.set()
        assert set(first.result()) == {"alice", "bob"}
        assert [set(one.result()) for one in others] == [{"carol"}, {"dave", "carol"}, set()]
    assert len(ledger.reads) == 2
    assert sorted(ledger.reads[1]) == ["carol", "dave", "nobody"]
