"""Proposed journals over the API: keys enter them, people approve them, and a setting forbids every other way."""

from typing import Any

import pytest

from app.domain.journal_proposals import ApprovalMode
from app.domain.journals import JournalLine, JournalRequest
from app.domain.refusals import Refusal, RefusalCode
from app.domain.users import Role, User
from app.ledger.engine import owner_engine
from app.ledger.users import LedgerUsers
from app.services.access.api_keys import Scope
from app.services.access.users import invite
from tests.api.world import BANK, assert_problem
from tests.journals.world import JournalWorld, credit, debit, journal

PROPOSALS = "/v1/journal-proposals"


@pytest.fixture
def wallet(world: JournalWorld) -> str:
    """A wallet with 100.00."""
    return world.funded("wallet", 10_000)


def controller(world: JournalWorld, name: str = "mira") -> User:
    users = LedgerUsers(owner_engine(world.settings.owner_database_url))
    invite(users, name, Role.CONTROLLER, "tests", world.services.now())
    found = users.get(name)
    assert found is not None
    return found


def proposed(world: JournalWorld, wallet: str, **more: Any) -> dict[str, Any]:
    body = journal(debit(wallet, 2_500), credit(BANK, 2_500), external_id="payout-1", **more)
    response = world.post(PROPOSALS, body)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.get_json()
    return found


def test_a_proposal_is_kept_and_moves_and_holds_nothing(world: JournalWorld, wallet: str) -> None:
    before = world.get(f"/v1/accounts/{wallet}/balance").get_json()
    proposal = proposed(world, wallet, metadata={"invoice": "7"})
    assert (proposal["state"], proposal["entity_id"], proposal["metadata"]) == ("waiting", "default", {"invoice": "7"})
    assert proposal["entries"] == [
        {"account_id": wallet, "direction": "debit", "amount_minor": 2_500, "currency_code": "EUR"},
        {"account_id": BANK, "direction": "credit", "amount_minor": 2_500, "currency_code": "EUR"},
    ]
    assert world.get(f"/v1/accounts/{wallet}/balance").get_json() == before
    assert world.get(f"{PROPOSALS}/{proposal['proposal_id']}").get_json() == proposal
    assert world.get(PROPOSALS).get_json()["data"] == [proposal]
    assert proposed(world, wallet, metadata={"invoice": "7"}) == proposal


def test_a_person_approves_what_a_key_has_proposed(world: JournalWorld, wallet: str) -> None:
    proposal = proposed(world, wallet, metadata={"invoice": "7"})
    approval = world.services.approval
    outcome = approval.approve(int(proposal["proposal_id"]), controller(world))
    assert not isinstance(outcome, Refusal), outcome
    journal_id = outcome.transaction.payment_id
    decided = world.get(f"{PROPOSALS}/{proposal['proposal_id']}").get_json()
    assert (decided["state"], decided["decided_by"], decided["journal_id"]) == ("approved", "user:mira", journal_id)
    posted = world.get(f"/v1/journals/{journal_id}").get_json()
    assert posted["metadata"] == {"invoice": "7", "entered_by": proposal["entered_by"]}
    again = approval.approve(int(proposal["proposal_id"]), controller(world, "kim"))
    assert isinstance(again, Refusal)
    assert again.code is RefusalCode.PROPOSAL_DECIDED
    assert "was approved by mira." in again.detail
    world.assert_proven()


def test_what_would_be_refused_is_not_proposed(world: JournalWorld, wallet: str) -> None:
    body = journal(debit(wallet, 10_001), credit(BANK, 10_001))
    assert_problem(world.post(PROPOSALS, body), 422, "insufficient_funds")
    assert world.sql("SELECT count(*) FROM journal_proposal") == [(0,)]


def test_what_was_posted_in_another_way_is_not_approved(world: JournalWorld, wallet: str) -> None:
    proposal = proposed(world, wallet)
    world.posted(debit(wallet, 2_500), credit(BANK, 2_500), external_id="payout-1")
    outcome = world.services.approval.approve(int(proposal["proposal_id"]), controller(world))
    assert isinstance(outcome, Refusal)
    assert outcome.code in (RefusalCode.PROPOSAL_DECIDED, RefusalCode.EXTERNAL_ID_REUSED)
    assert world.sql("SELECT count(*) FROM journal_decision") == [(0,)]
    body = journal(debit(wallet, 2_500), credit(BANK, 2_500), external_id="payout-1")
    assert_problem(world.post(PROPOSALS, body), 422, "external_id_reused")
    world.assert_proven()


def test_the_key_that_proposed_it_withdraws_it_and_no_other(world: JournalWorld, wallet: str) -> None:
    number = proposed(world, wallet)["proposal_id"]
    other = world.key_with(Scope.JOURNALS_WRITE)
    assert_problem(world.post(f"{PROPOSALS}/{number}/withdrawal", key=other), 403, "forbidden")
    assert world.post(f"{PROPOSALS}/{number}/withdrawal").get_json()["state"] == "withdrawn"
    again = assert_problem(world.post(f"{PROPOSALS}/{number}/withdrawal"), 409, "proposal_decided")
    key_id = world.key.split("_")[1]
    assert f"was withdrawn by the key {key_id}." in again["detail"]
    assert again["decided_by"] == f"key:{key_id}", "a member is for machines"
    assert proposed(world, wallet)["proposal_id"] != number, "the id is free again"


@pytest.mark.parametrize("number", ["7", "x", "9" * 30])
def test_a_proposal_that_is_not_there(world: JournalWorld, number: str) -> None:
    assert_problem(world.get(f"{PROPOSALS}/{number}"), 404, "proposal_not_found")


def test_proposals_are_listed_a_page_at_a_time(world: JournalWorld, wallet: str) -> None:
    for number in range(3):
        body = journal(debit(wallet, 1), credit(BANK, 1), external_id=f"payout-{number}")
        assert world.post(PROPOSALS, body).status_code == 201
    met, path = [], f"{PROPOSALS}?limit=2"
    while path:
        page = world.get(path).get_json()
        met += [one["external_id"] for one in page["data"]]
        path = f"{PROPOSALS}?limit=2&after={page['next']}" if page["next"] else ""
    assert met == ["payout-2", "payout-1", "payout-0"]


def test_where_people_need_it_no_service_posts_in_a_persons_name(world: JournalWorld, wallet: str) -> None:
    """Whatever has a journal posted, as the matching of statements does, asks the same gate."""
    strict = world.with_settings(journal_approval=ApprovalMode.PEOPLE)
    lines = [JournalLine(wallet, True, 1), JournalLine(BANK, False, 1)]
    wanted = JournalRequest("a difference", lines, "bank charges")
    refused = strict.services.journals.post(wanted, "user:jane")
    assert isinstance(refused, Refusal)
    assert refused.code is RefusalCode.APPROVAL_NEEDED
    assert not isinstance(strict.services.journals.post(wanted, "user:jane", dry_run=True), Refusal)
    posted = strict.services.journals.post(wanted, "key:abc")
    assert not isinstance(posted, Refusal)
    undone = strict.services.journals.reverse(posted.transaction.payment_id, "undo", "x", "user:jane")
    assert isinstance(undone, Refusal)
    assert undone.code is RefusalCode.APPROVAL_NEEDED


def test_where_all_journals_need_it_no_key_posts_one(world: JournalWorld, wallet: str) -> None:
    posted = world.posted(debit(wallet, 1), credit(BANK, 1))
    strict = world.with_settings(journal_approval=ApprovalMode.ALL)
    body = journal(debit(wallet, 2), credit(BANK, 2))
    undo = {"external_id": "undo", "reason": "x"}
    assert_problem(strict.post("/v1/journals", body), 403, "approval_needed")
    assert_problem(strict.post(f"/v1/journals/{posted['journal_id']}/reversal", undo), 403, "approval_needed")
    assert strict.post("/v1/journals?dry_run=true", body).status_code == 200
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind IN ('journal', 'reversal')") == [(1,)]

    proposal = strict.post(f"/v1/journals/{posted['journal_id']}/reversal-proposals", undo).get_json()
    assert (proposal["kind"], proposal["relates_to"]) == ("reversal", posted["journal_id"])
    outcome = strict.services.approval.approve(int(proposal["proposal_id"]), controller(strict))
    assert not isinstance(outcome, Refusal), outcome
    assert world.get(f"/v1/journals/{posted['journal_id']}").get_json()["reversed_by"] == outcome.transaction.payment_id
    world.assert_proven()
