"""Each advisory lock of ours has a number of its own: two purposes with one number would wait for each other."""

import re
from collections import defaultdict

from app.command_line import PROJECT

NUMBER = re.compile(r"\b477_?(\d{3})\b")


def test_no_two_modules_lock_the_same_number() -> None:
    users = defaultdict(set)
    for path in (PROJECT / "app").rglob("*"):
        if path.suffix in (".py", ".sql"):
            for number in NUMBER.findall(path.read_text(encoding="utf-8")):
                users[number].add(path.name)
    assert len(users) > 4
    assert {number: names for number, names in users.items() if len(names) > 1} == {}
