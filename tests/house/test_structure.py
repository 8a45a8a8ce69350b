"""The structure of the project: imports run one way, names are plain, and every catalogue is complete."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.api.responses import catalogue, status_of
from app.domain.refusals import RefusalCode
from app.embedded.servers import ServerUrls
from app.ledger.migrate import metadata_differences

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*ROOT.glob("app/**/*.py"), *ROOT.glob("workers/**/*.py"), ROOT / "wsgi.py"])
MAY_IMPORT_ADAPTERS = {"app.wiring", "app.commands", "workers"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports when it runs, wherever in the file; imports for types alone are left out."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """The room of a module: app.<room>, or workers."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "app" else parts[0]


ROOMS = {
    # room: the rooms that it may import from, beside itself
    "app.domain": set(),
    "app.cache": {"app.domain"},
    "app.ledger": {"app.domain"},
    "app.services": {"app.domain"},
    "app.statements": {"app.domain"},
    "app.api": {"app.domain", "app.services"},
    "app.dashboard": {"app.domain", "app.services", "app.api"},
}


@pytest.mark.parametrize("name", ROOMS)
def test_imports_run_one_way(name: str) -> None:
    strays = {
        f"{module_name(path)} → {imported}"
        for path in MODULES
        if room(module_name(path)) == name
        for imported in imports(path)
        if imported.startswith(("app.", "workers")) and room(imported) not in ROOMS[name] | {name}
    }
    assert strays == set()


def test_only_wiring_and_commands_know_the_adapters() -> None:
    strays = set()
    for path in MODULES:
        name = module_name(path)
        if room(name) in ("app.cache", "app.ledger") or name.startswith(tuple(MAY_IMPORT_ADAPTERS)):
            continue
        strays |= {f"{name} → {one}" for one in imports(path) if room(one) in ("app.cache", "app.ledger")}
    strays = {one for one in strays if not one.startswith(TOLERATED)}
    assert strays == set()


TOLERATED = ("app.wakeup → app.cache.client",)
"""The queue's client: `app.wakeup` is an adapter itself, wired like the others."""


def test_the_domain_needs_the_standard_library_only() -> None:
    foreign = {
        f"{module_name(path)} → {imported}"
        for path in MODULES
        if room(module_name(path)) == "app.domain"
        for imported in imports(path)
        if imported.split(".")[0] not in sys.stdlib_module_names | {"app"}
    }
    assert foreign == set()


ONLY_IN = {
    "redis": {"app.cache", "app.wakeup", "app.wiring", "app.embedded", "workers", "app.commands"},
    "psycopg": {"app.ledger", "app.embedded", "app.commands"},
    "sqlalchemy": {"app.ledger", "app.wiring"},
    "flask": {"app.api", "app.dashboard", "wsgi"},
    "lxml": {"app.statements"},
    "mt940": {"app.statements"},
    "opentelemetry": {"app.tracing"},
    "prometheus_client": {"app.api", "app.cache", "app.ledger", "workers"},
    "stripe": {"app.statements"},
    "rq": {"app.wakeup", "app.wiring", "workers", "app.commands"},
}


@pytest.mark.parametrize("library", ONLY_IN)
def test_each_library_is_known_in_its_own_rooms_only(library: str) -> None:
    strays = {
        module_name(path)
        for path in MODULES
        if any(one.split(".")[0] == library for one in imports(path))
        if room(module_name(path)) not in ONLY_IN[library]
    }
    assert strays == set()


NOT_FOR = {
    "workers.drain": ("flask", "sqlalchemy", "alembic"),
    "workers.maintain": ("flask", "sqlalchemy", "alembic"),
    "workers.schedule": ("flask",),
}
"""What these processes have no use for; importing it would take longer than all else that they begin with."""


@pytest.mark.parametrize("process", NOT_FOR)
def test_a_worker_does_not_import_what_only_the_api_needs(process: str) -> None:
    program = f"import sys, {process}; print([one for one in {NOT_FOR[process]} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_clock_chance_or_environment_in_the_domain() -> None:
    for path in MODULES:
        if room(module_name(path)) == "app.domain":
            text = path.read_text()
            for word in ("datetime.now", "time.time", "monotonic", "random", "environ", "sleep"):
                assert word not in text, f"{module_name(path)}: {word}"


def test_the_domain_names_no_route() -> None:
    domain = [path for path in MODULES if room(module_name(path)) == "app.domain"]
    assert [module_name(path) for path in domain if "/v1/" in path.read_text()] == []


# Names and sizes

BANNED_WORDS = {
    *("quiet", "leisure", "heard", "kept", "careful", "intake", "straight", "through"),
    *("advancing", "holding", "answering", "pushing", "mending"),
    *("helper", "helpers", "util", "utils", "misc", "common", "manager", "managers"),
    *("books", "funds"),
}
"""Words that say nothing to a payments engineer, or that the vocabulary replaces by another."""

RELEASED_MIGRATIONS = "app.ledger.migrations.versions."
"""A migration that was released keeps its name."""


def test_module_names_hold_no_banned_word() -> None:
    named = {
        name
        for name in map(module_name, MODULES)
        if not name.startswith(RELEASED_MIGRATIONS)
        if any(BANNED_WORDS.intersection(part.split("_")) for part in name.split("."))
    }
    assert named == set()


SHARED_NAMES = {
    # name: the rooms that see the same thing under it
    "account_changes": {"app.api", "app.domain", "app.ledger"},
    "account_lists": {"app.domain", "app.ledger"},
    "activity": {"app.ledger", "app.services"},
    "accounts": {"app.api", "app.cache", "app.domain", "app.ledger", "app.services"},
    "api_keys": {"app.api", "app.domain", "app.ledger", "app.services"},
    "application": {"app.api", "app.dashboard"},
    "assets": {"app.api", "app.ledger", "app.services"},
    "audit": {"app.api", "app.dashboard", "app.domain"},
    "audit_reads": {"app.domain", "app.ledger"},
    "authorizations": {"app.api", "app.cache", "app.domain", "app.services"},
    "batches": {"app.api", "app.services"},
    "breaks": {"app.api", "app.dashboard", "app.domain", "app.ledger", "app.services"},
    "context": {"app.api", "app.dashboard"},
    "cache_identity": {"app.domain", "app.ledger", "app.services"},
    "events": {"app.api", "app.dashboard", "app.domain", "app.ledger", "app.wiring"},
    "evidence": {"app.api", "app.domain", "app.ledger", "app.services"},
    "financial_statements": {"app.api", "app.domain", "app.ledger", "app.services"},
    "hash_chain": {"app.domain", "app.ledger"},
    "journal_proposals": {"app.api", "app.domain", "app.ledger"},
    "journals": {"app.api", "app.dashboard", "app.domain", "app.services"},
    "matching_rules": {"app.api", "app.domain"},
    "payment": {"app.dashboard", "app.domain"},
    "payment_search": {"app.domain", "app.ledger"},
    "proof_history": {"app.domain", "app.ledger"},
    "proof_requests": {"app.domain", "app.ledger", "app.services"},
    "operations": {"app.dashboard", "app.ledger", "app.services"},
    "metrics": {"app.api", "app.cache", "app.ledger"},
    "organisation": {"app.dashboard", "app.services"},
    "monitors": {"app.api", "app.domain", "app.ledger", "app.services"},
    "outbox": {"app.cache", "app.services"},
    "reconciliation": {"app.api", "app.dashboard", "app.ledger", "app.services"},
    "rate_limits": {"app.cache", "app.domain"},
    "refunds": {"app.domain", "app.services"},
    "reservations": {"app.cache", "app.domain"},
    "server_states": {"app.cache", "app.ledger"},
    "sign_in": {"app.dashboard", "app.services"},
    "trial_balance": {"app.dashboard", "app.domain", "app.ledger", "app.services"},
    "users": {"app.domain", "app.ledger", "app.services"},
    "matches": {"app.api", "app.ledger"},
    "matching": {"app.dashboard", "app.domain", "app.services"},
    "sign_offs": {"app.api", "app.dashboard", "app.ledger"},
    "statement_accounts": {"app.api", "app.ledger"},
    "statements": {"app.api", "app.dashboard", "app.ledger"},
    "webhooks": {"app.api", "app.domain", "app.ledger"},
    "signed_heads": {"app.domain", "app.ledger", "app.services"},
    "visibility": {"app.ledger", "app.services"},
}
"""The same resource or task, seen by several layers."""

NAMED_AFTER_WHAT_THEY_RUN = ("app.commands", "app.wiring", "workers")
"""A command, a worker and its wiring may be named after what they start."""


def test_modules_share_a_name_only_where_layers_see_the_same_thing() -> None:
    rooms: dict[str, list[str]] = {}
    for path in MODULES:
        name = module_name(path)
        if path.name == "__init__.py" or name.startswith(NAMED_AFTER_WHAT_THEY_RUN):
            continue
        rooms.setdefault(path.stem, []).append(room(name))
    shared = {
        stem: found
        for stem, found in rooms.items()
        if len(found) > 1 and (len(found) != len(set(found)) or not set(found) <= SHARED_NAMES.get(stem, set()))
    }
    assert shared == {}


LONGEST_FILE_LINES = 350


def test_no_file_is_longer_than_one_sitting() -> None:
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name for name, lines in lengths.items() if lines > LONGEST_FILE_LINES} == set()


def test_the_environment_is_read_where_settings_are_read() -> None:
    readers = {module_name(p) for p in MODULES if "os.environ" in p.read_text() or "getenv" in p.read_text()}
    allowed = (
        "app.settings",
        "app.commands",
        "app.bootstrap",
        "app.embedded",
        "app.supervisor",
        "workers",
        "wsgi",
        "app.__main__",
    )
    assert {name for name in readers if not name.startswith(allowed)} == set()


def test_nothing_connects_at_import() -> None:
    """Every module is imported with the network barred and without any setting."""
    names = [module_name(path) for path in MODULES if module_name(path) not in ("wsgi", "workers.api", "app.__main__")]
    names = [name for name in names if not name.startswith("app.ledger.migrations")]
    program = f"""
import importlib, os, socket, sys
sys.path.insert(0, {str(ROOT)!r})
os.environ.clear()
def barred(*args, **kwargs):
    raise AssertionError("connects at import")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = barred
import psycopg
psycopg.Connection.connect = barred
for name in {names!r}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_every_refusal_has_its_place_in_the_table_to_http() -> None:
    rows = catalogue()
    assert [row[0] for row in rows] == list(RefusalCode)
    for code, status, retryable, title in rows:
        assert status_of(code) == status
        assert 400 <= status < 600
        assert title
        assert retryable or status != 503, f"{code}: 503 invites a retry"


def test_no_code_is_listed_twice_and_each_is_a_plain_word() -> None:
    values = [code.value for code in RefusalCode]
    assert len(set(values)) == len(values)
    assert all(value == name.lower() for name, value in ((code.name, code.value) for code in RefusalCode))


def test_the_tables_in_python_are_the_tables_in_the_database(fresh_urls: ServerUrls) -> None:
    assert metadata_differences(fresh_urls.owner_database_url) == []


def test_every_public_function_of_the_rules_says_what_it_means() -> None:
    silent = [
        f"{module_name(path)}.{node.name}"
        for path in MODULES
        if room(module_name(path)) in ("app.domain", "app.cache", "app.ledger")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_") and not ast.get_docstring(node)
        and "migrations" not in module_name(path)
    ]  # fmt: skip
    assert silent == []
