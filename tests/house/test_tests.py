"""The tests' own rules: they reach the product through its public names only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

OFFERED = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""Public names of the standard library that begin with an underscore."""


def is_private(name: object) -> bool:
    return isinstance(name, str) and re.match(r"_[a-z]", name) is not None and name not in OFFERED


def is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def privates(source: str) -> Iterator[str]:
    """What a test reaches for that begins with an underscore, unless it is its own."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_own(node.value):
            yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.lineno}: import of {one.name}" for one in node.names if is_private(one.name))
        elif isinstance(node, ast.Call) and called(node) in ("setattr", "getattr", "delattr", "object"):
            names = [one.value for one in node.args if isinstance(one, ast.Constant)]
            yield from (f"{node.lineno}: {name!r}" for name in names if any(map(is_private, str(name).split("."))))


def test_a_private_is_recognized_however_it_is_reached() -> None:
    reaching = ("drain._reader", "self.drain._reader._limit", "type(x)._settle", "from app.cache.keys import _names")
    by_name = ("patch.setattr(batches, '_sleep', sleep)", "patch.setattr('app.wakeup._queue', 1)", "getattr(x, '_y')")
    for source in (*reaching, *by_name):
        assert list(privates(source)), source
    for source in ("self._own", "cls._own", "row._replace(x=1)", "os._exit(1)", "x.__dict__", "getattr(x, 'y')"):
        assert not list(privates(source)), source


def test_no_test_reaches_a_private() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{reached}"
        for path in ROOT.glob("tests/**/*.py")
        for reached in privates(path.read_text())
    }
    assert found == set()
