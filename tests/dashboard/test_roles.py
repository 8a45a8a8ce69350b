"""What each role may do on each page: a table of every address that is not for everybody, walked with every role."""

import re

import pytest

from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.world import World

V, A, C, D = Role.VIEWER, Role.ACCOUNTANT, Role.CONTROLLER, Role.ADMIN

OPENED = {
    "/": V,
    "/accounts": V,
    "/accounts/alice": V,
    "/search": V,
    "/me": V,
    "/reports/trial-balance": V,
    "/reports/balance-sheet": V,
    "/reports/income-statement": V,
    "/reconciliation": V,
    "/reconciliation/breaks": V,
    "/statements": V,
    "/audit": V,
    "/operations": V,
    "/events": V,
    "/webhooks": V,
    "/monitors": V,
    "/journals": V,
    "/journals/proposals/1": V,
    "/journals/new": A,
    "/journals/jrn_1/reversal": A,
    "/payments/jrn_1": V,
    "/payments/jrn_1/evidence.json": V,
    "/account-changes/alice": C,
    "/keys": D,
    "/keys/new": D,
    "/keys/KEY": D,
}
"""The role that each page needs; `KEY` is a key's id."""

SENT = {
    "/journals/new": A,
    "/journals/templates": A,
    "/journals/proposals/1": A,
    "/journals/jrn_1/reversal": A,
    "/account-changes/alice": C,
    "/keys/new": D,
    "/keys/KEY": D,
    "/reconciliation/runs": A,
    "/reconciliation/breaks/1": A,
    "/reconciliation/breaks/1/repair": C,
    "/statements/import": A,
    "/statements/link": C,
    "/statements/accounts/1/run": A,
    "/statements/accounts/1/match": A,
    "/statements/accounts/1/matches/1": A,
    "/statements/accounts/1/sign-off": C,
    "/statements/accounts/1/reopen": C,
    "/webhooks/x/resend": C,
    "/webhooks/x/state": C,
}
"""The role that each form needs; what the form then asks for, the tests of its page say."""


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    """An account, a journal, and a proposal that waits."""
    world = shared_world
    world.funded("alice")
    world.account("costs", "expense")
    lines = [{"account_id": "costs", "direction": "debit", "amount_minor": 1},
             {"account_id": BANK, "direction": "credit", "amount_minor": 1}]  # fmt: skip
    answer = world.post("/v1/journals", {"external_id": "j-1", "reason": "costs", "entries": lines})
    assert answer.get_json()["journal_id"] == "jrn_1", answer.text
    world.sql(
        """INSERT INTO journal_proposal (entity_id, kind, external_id, lines, reason, entered_by)
        VALUES ('default', 'journal', 'j-2', %s, 'costs', 'user:somebody')""",
        f'[["costs", 1, "EUR"], ["{BANK}", -1, "EUR"]]',
    )
    return world


def address(world: World, path: str) -> str:
    [(key_id,)] = world.sql("SELECT key_id FROM api_key ORDER BY created_at LIMIT 1")
    return path.replace("KEY", str(key_id))


@pytest.mark.parametrize("role", list(Role))
def test_a_role_opens_the_pages_that_need_it_or_a_lesser_one(world: World, role: Role) -> None:
    browser = world.signed_in(role)
    for path, needed in OPENED.items():
        expected = 200 if role.may_act_as(needed) else 403
        assert browser.get(address(world, path)).status_code == expected, (role, path)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_sends_the_forms_that_need_it_or_a_lesser_one(world: World, role: Role) -> None:
    browser = world.signed_in(role)
    for path, needed in SENT.items():
        status = browser.send("/me", address(world, path)).status_code
        assert (status == 403) == (not role.may_act_as(needed)), (role, path, status)


@pytest.mark.parametrize("role", list(Role))
def test_a_page_links_to_nothing_that_the_role_may_not_open(world: World, role: Role) -> None:
    browser = world.signed_in(role)
    found: dict[str, str] = {}
    for path, needed in OPENED.items():
        if role.may_act_as(needed):
            page = browser.page(address(world, path))
            found |= dict.fromkeys(re.findall(r'href="(/[^"#?]*)', page), path)
    for link, path in found.items():
        assert browser.get(link).status_code != 403, (role, path, link)


OWN = {"/sign-in", "/sign-out", "/invitation/<token>", "/me/second-factor"}
"""Forms of one's own sign-in, which every role has."""


def test_every_page_that_changes_something_is_in_the_table(world: World) -> None:
    places = {"journal_id": "jrn_1", "account_id": "alice", "key_id": "KEY", "endpoint_id": "x"}
    posts = {str(one) for one in world.pages.url_map.iter_rules() if "POST" in (one.methods or ())} - OWN
    walked = {re.sub(r"<(?:\w+:)?(\w+)>", lambda m: places.get(m[1], "1"), one) for one in posts}
    assert walked == SENT.keys()
