"""The reference of the API: all of the OpenAPI document, for everybody, and nothing from elsewhere."""

import re

import pytest

from app.api.application import all_routes
from app.api.conventions import CONVENTIONS
from app.api.openapi import document
from app.api.responses import catalogue
from app.api.routes import REFERENCE, is_of_api
from tests.dashboard.world import World


@pytest.fixture(scope="module")
def html(shared_world: World) -> str:
    """The page, for somebody who is not signed in."""
    response = shared_world.browser().get(REFERENCE)
    assert response.status_code == 200
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    return response.get_data(as_text=True)


def test_the_page_is_the_only_path_below_v1_that_is_not_the_apis() -> None:
    assert not is_of_api(REFERENCE)
    for path in ("/v1", "/v1/", f"{REFERENCE}/", f"{REFERENCE}s", "/v1/accounts", "/v1/openapi.json"):
        assert is_of_api(path)


def test_it_has_every_operation_every_body_every_code_and_every_convention(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    openapi = document(all_routes())
    assert {route.name for route in all_routes()} <= set(ids)
    assert {f"body-{name}" for name in openapi["components"]["schemas"]} <= set(ids)
    assert {f"problem-{code}" for code, *_ in catalogue()} <= set(ids)
    for name in re.findall(r"^\*\*(.+?)\.\*\*", CONVENTIONS, re.MULTILINE):
        assert f"<dt>{name}</dt>" in html


def test_every_link_inside_leads_somewhere_and_none_leads_elsewhere(html: str) -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    links = set(re.findall(r'(?:href|src)="([^"]+)"', html))
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert [link for link in links if not link.startswith(("#", "/"))] == []
    assert [link for link in links if link.startswith("//")] == []


def test_it_needs_no_script(html: str) -> None:
    assert "<script" not in html
    assert " style=" not in html


def test_on_paper_every_operation_is_opened(shared_world: World, html: str) -> None:
    paper = shared_world.browser().get(f"{REFERENCE}?view=print").get_data(as_text=True)
    assert paper.count('<details class="operation" open>') == len(all_routes())
    assert html.count('<details class="operation">') == len(all_routes())
