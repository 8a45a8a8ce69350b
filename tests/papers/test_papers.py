"""The papers speak of what exists: files, names, settings, commands."""

import ast
import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

from app.command_line import COMMANDS, PROJECT, function_of
from app.settings import Settings, settings_from

PAPERS = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "bench/README.md",
    "docs/deploy.md",
    "docs/evidence.md",
    "docs/operations.md",
    "docs/pages.md",
    "docs/performance.md",
    "docs/statements.md",
    "lua/README.md",
]
MADE_BY_A_START = (".holdfast", ".venv")
FILE_NAME = re.compile(r"[\w.-]+\.(?:py|lua|md|sql|txt|toml|json)")
FOREIGN = re.compile(
    r"(?<![\w.])/(?:home|root|work|tmp|usr|opt)/|\.\./|https?://(?!127\.0\.0\.1)|\bpypi\b", re.IGNORECASE
)


def paper(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A paper without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", paper(name), flags=re.MULTILINE | re.DOTALL)


def code_spans(name: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", prose(name)))


def is_path(span: str) -> bool:
    if not re.fullmatch(r"[\w./-]+", span) or span.startswith("/") or span.split("/")[0] in MADE_BY_A_START:
        return False
    return "/" in span or FILE_NAME.fullmatch(span) is not None


def named_paths(name: str) -> set[str]:
    """Files and folders that a paper names: in backticks, as links, and in its diagrams."""
    links = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", paper(name))} - {""}
    blocks = re.findall(r"^```\n(.*?)^```$", paper(name), flags=re.MULTILINE | re.DOTALL)
    drawn = {word for block in blocks for word in re.findall(r"(?:app|lua|workers|tests)/[\w./]+\w", block)}
    return {span for span in code_spans(name) if is_path(span)} | links | drawn


@pytest.mark.parametrize("name", PAPERS)
def test_every_file_that_is_named_exists(name: str) -> None:
    bases = (PROJECT, (PROJECT / name).parent)
    missing = sorted(path for path in named_paths(name) if not any((base / path).exists() for base in bases))
    assert missing == []


def test_the_architecture_is_read_in_ten_minutes() -> None:
    assert len(paper("ARCHITECTURE.md").split()) <= 2_000


def test_papers_name_files_at_all() -> None:
    assert {"lua/reserve.lua", "app/services/posting/drain.py", "app/wiring/"} <= named_paths("ARCHITECTURE.md")


@pytest.mark.parametrize("name", PAPERS)
def test_every_dotted_name_can_be_found(name: str) -> None:
    dotted = [span for span in code_spans(name) if re.fullmatch(r"(app|workers|tests)(\.\w+)+", span)]
    assert [span for span in dotted if not can_be_found(span)] == []


def can_be_found(dotted: str) -> bool:
    """Whether a module, or something inside one, has this name."""
    module, rest = dotted, []
    while module:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
            continue
        for attribute in rest:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("app.services.posting.drain.Drain.run_once", True),
        ("app.services.posting.drain.Drain.gone", False),
        ("app.gone", False),
    ],
)
def test_a_dotted_name_is_told_from_an_invented_one(dotted: str, expected: bool) -> None:
    assert can_be_found(dotted) is expected


@pytest.mark.parametrize("name", [*PAPERS, "docs/API.md"])
def test_papers_name_no_place_outside_of_the_project(name: str) -> None:
    assert FOREIGN.findall(paper(name)) == []


def table_after(heading: str, name: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its two header lines."""
    chapter = paper(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in chapter.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def variables() -> dict[str, str]:
    """Each setting's field and the variable that its docstring begins with."""
    [settings] = [node for node in ast.parse(inspect.getsource(Settings)).body if isinstance(node, ast.ClassDef)]
    found = {}
    for field, text in zip(settings.body, settings.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = re.match(r"\w+", str(text.value.value))[0]  # type: ignore[index]
    return found


def test_every_setting_says_its_variable() -> None:
    assert list(variables()) == [field.name for field in dataclasses.fields(Settings)]


def test_readme_lists_every_setting_in_order_with_its_default() -> None:
    written = {cells[0].strip("`"): cells[-1].strip("`") for cells in table_after("Settings", "README.md")}
    given = {"DATABASE_URL": "DATABASE_URL", "REDIS_URL": "REDIS_URL"}
    settings = settings_from(given)
    expected = {}
    for name, variable in variables().items():
        default = getattr(settings, name)
        expected[variable] = "off" if default is False else str(default)
    expected |= {"DATABASE_URL": "the embedded Postgres", "REDIS_URL": "the embedded Valkey"}
    assert written == expected
    assert list(written) == list(expected)


def test_readme_lists_every_command_in_order() -> None:
    assert [cells[0].strip("`") for cells in table_after("Commands", "README.md")] == list(COMMANDS)


def test_every_command_that_is_listed_is_there() -> None:
    assert [name for name in COMMANDS if not callable(function_of(name))] == []


@pytest.mark.parametrize("name", PAPERS)
def test_every_command_that_a_paper_types_exists(name: str) -> None:
    assert set(re.findall(r"python3 -m app ([a-z]+)", paper(name))) <= set(COMMANDS)


def metrics() -> set[str]:
    """The names of all metrics: the first arguments of what makes one."""
    calls = [
        node
        for folder in ("app", "workers")
        for path in (PROJECT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
    ]
    names = [node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)]
    return {name for name in names if isinstance(name, str) and re.fullmatch(r"holdfast_[a-z_]+", name)} - ROLES


ROLES = {"holdfast_app"}


def test_operations_names_every_metric_and_no_other() -> None:
    served = metrics()
    written = re.findall(r"`(holdfast_[a-z_]+?)(?:_total)?(?:\{[\w,]+\})?`", paper("docs/operations.md"))
    assert served
    assert set(written) - ROLES == served


def test_every_worker_process_is_listed() -> None:
    listed = paper("README.md").partition("## Processes")[2].partition("\n## ")[0]
    processes = [path.name for path in sorted(Path(PROJECT / "workers").glob("*.py"))]
    helpers = {"__init__.py", "process.py"}
    assert [name for name in processes if name not in helpers and f"`workers/{name}`" not in listed] == []


def test_every_command_line_of_a_session_is_marked_and_every_session_has_one() -> None:
    sessions = re.findall(r"^```console\n(.*?)^```$", paper("README.md"), flags=re.MULTILINE | re.DOTALL)
    assert sessions
    assert all(session.startswith("$ ") for session in sessions)
