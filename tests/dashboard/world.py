"""A world with people in it: the pages over a database and a cache of its own, and a browser for each person."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from html import unescape
from typing import Any

import psycopg
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.dashboard.application import create_pages
from app.dashboard.context import PageServices
from app.domain.users import Role, User
from app.ledger.engine import owner_engine
from app.ledger.users import LedgerUsers
from app.services.access.users import invite
from app.wiring.pages import build_pages
from tests.api.world import World as ApiWorld

PASSWORD = "correct horse battery"


@dataclass
class Clock:
    """The time of day, which a test may put forward."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class World(ApiWorld):
    """Servers, pages and people."""

    clock: Clock = field(default_factory=Clock)

    @cached_property
    def page_services(self) -> PageServices:
        """The services under the pages."""
        self.services.now = self.clock
        return build_pages(self.settings, self.services)

    @cached_property
    def pages(self) -> Flask:
        """The pages."""
        return create_pages(self.page_services)

    @cached_property
    def ledger_users(self) -> LedgerUsers:
        """The users in the ledger, for whoever may make them: the owner."""
        return LedgerUsers(owner_engine(self.settings.owner_database_url))

    def invitation(self, name: str, role: Role = Role.VIEWER) -> str:
        """The path of an invitation."""
        return f"/invitation/{invite(self.ledger_users, name, role, 'tests', self.clock())}"

    def user(self, name: str, role: Role = Role.VIEWER) -> User:
        """Somebody who has a password."""
        token = self.invitation(name, role).rpartition("/")[2]
        invited = self.page_services.sign_in.invited(token)
        assert invited is not None
        assert self.page_services.sign_in.set_password(invited, PASSWORD) is None
        user = self.ledger_users.get(name)
        assert user is not None
        return user

    def as_app(self, statement: str) -> None:
        """Run a statement with the rights that the API and the pages have."""
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            connection.execute("SET ROLE holdfast_app")
            connection.execute(statement)  # type: ignore[call-overload]

    def browser(self) -> "Browser":
        """A browser in which nobody is signed in."""
        return Browser(self.pages.test_client())

    def signed_in(self, role: Role = Role.VIEWER, name: str = "") -> "Browser":
        """A browser in which somebody with this role is signed in."""
        name = name or f"a-{role.value}"
        if self.ledger_users.get(name) is None:
            self.user(name, role)
        browser = self.browser()
        assert browser.sign_in(name).status_code == 303
        return browser


@dataclass
class Browser:
    """One browser with its cookies. Forms are sent with the token of the page that they stand on."""

    client: FlaskClient

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page."""
        return self.client.get(path, **options)

    def page(self, path: str) -> str:
        """The text of a page that must be there."""
        response = self.get(path)
        assert response.status_code == 200, f"{path}: {response.status_code}\n{response.text}"
        return response.text

    def send(self, form_on: str, path: str = "", **fields: Any) -> TestResponse:
        """Open a page and send a form of it."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(form_on).text)
        assert token is not None, f"{form_on} has no form"
        return self.client.post(path or form_on, data={"csrf_token": unescape(token[1]), **fields})

    def sign_in(self, name: str, password: str = PASSWORD, code: str = "", **more: str) -> TestResponse:
        """Send the form of the sign-in."""
        return self.send("/sign-in", name=name, password=password, totp=code, **more)


INLINE = r"</?(?:a|em|small|span|strong|time|wbr)\b[^>]*>"


def text_of(page: str) -> str:
    """A page as it is read: without tags, with single blanks."""
    body = re.sub(INLINE, "", page.partition("<main")[2].partition(">")[2])
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, row by row."""
    table = page.partition(heading)[2].partition("<table")[2].partition("</table>")[0]
    return [
        [" ".join(unescape(re.sub(r"<[^>]*>", "", cell)).split()) for cell in cells_of(row)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
    ]


def cells_of(row: str) -> list[str]:
    cells: list[str] = re.findall(r"<t[dh]\b[^>]*>(.*?)</t[dh]>", row, re.DOTALL)
    return cells
