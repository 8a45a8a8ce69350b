"""The scripts' headers, their codes and the map of keys agree with the code."""

import inspect
import re
from pathlib import Path

import pytest

from app.cache import keys
from app.domain.money import MAX_MINOR
from app.domain.payment_checks import FINGERPRINT_LENGTH
from app.domain.reservations import ReserveCode

SHARED = keys.LUA_FOLDER / f"{keys.SHARED}.lua"
LUA = sorted(set(keys.LUA_FOLDER.glob("*.lua")) - {SHARED})
README = (keys.LUA_FOLDER / "README.md").read_text()


def header(path: Path) -> str:
    lines = path.read_text().splitlines()
    return "\n".join(line.removeprefix("--").removeprefix(" ") for line in lines if line.startswith("--"))


def section(text: str, name: str) -> str:
    """The part of a header that begins with `name`, to the next part."""
    match = re.search(rf"^{name}\b(.*?)(?=^(?:KEYS|ARGV|Reply|Record)\b|\Z)", text, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def body(path: Path) -> str:
    return "\n".join(line.split("--")[0] for line in path.read_text().splitlines())


def test_every_script_is_loaded_and_every_loaded_script_exists() -> None:
    assert {script.verb for script in keys.ALL} == {path.stem for path in LUA}


def test_the_readme_lists_every_script_in_the_words_of_its_header() -> None:
    listed = dict(re.findall(r"^\| `(\w+)\.lua` \| (.+?) \|$", README, re.MULTILINE))
    assert listed.keys() == {path.stem for path in LUA}


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.stem)
def test_a_header_says_what_it_is_and_names_keys_arguments_and_replies(path: Path) -> None:
    text = header(path)
    assert text.startswith(f"{path.stem}: ")
    for part in ("KEYS", "ARGV", "Reply"):
        assert section(text, part).strip(), part


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.stem)
def test_the_fixed_keys_and_arguments_are_named_once_at_the_top_and_counted_as_the_header_counts(path: Path) -> None:
    code = body(path)
    for kind in ("KEYS", "ARGV"):
        numbered = [int(number) for number in re.findall(r"(?:^|\s)(\d+) [A-Za-z']", section(header(path), kind))]
        used = [int(number) for number in re.findall(rf"\b{kind}\[(\d+)\]", code)]
        assert set(used) <= set(numbered), f"{kind} used beyond the header"
        if numbered:
            assert numbered == list(range(1, len(numbered) + 1)), f"{kind} numbered with gaps"
    for constant, kind in (("FIXED_KEYS", "KEYS"), ("FIXED_ARGS", "ARGV")):
        declared = re.search(rf"local (?:[\w, ]*\b)?{constant}\b[\w, ]* = ([\d, ]+)", code)
        if declared:
            names = re.search(r"local ([\w, ]+) =", declared[0])
            assert names is not None
            index = [name.strip() for name in names[1].split(",")].index(constant)
            count = int(declared[1].split(",")[index])
            numbered = re.findall(r"(?:^|\s)(\d+) [A-Za-z']", section(header(path), kind))
            assert count == len(numbered), constant


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.stem)
def test_every_code_that_a_script_answers_is_in_its_header_and_the_other_way_round(path: Path) -> None:
    code = body(path)
    commands = set(re.findall(r"\bcall\(\s*'([A-Z]+)'", code))
    literals = set(re.findall(r"'([A-Z][A-Z_]{2,})'", code)) - commands - REDIS_WORDS
    documented = set(re.findall(r"'([A-Z][A-Z_]{2,})'", section(header(path), "Reply")))
    assert literals == documented


REDIS_WORDS = {"PX", "NX", "GET", "KEEPTTL", "MINID", "STREAM", "PXAT"}


def test_the_outcomes_of_reserve_stand_in_the_same_order_in_lua_and_python() -> None:
    path = keys.LUA_FOLDER / "reserve.lua"
    documented = list(re.findall(r"^ +'([A-Z_]+)'\|", section(header(path), "Reply"), re.MULTILINE))
    outcomes = [code for code in documented if code in {one.value for one in ReserveCode}]
    assert outcomes == [code.value for code in ReserveCode]
    decide = body(path).partition("for n = 1, payment_count do")[2].partition("\nend")[0]
    decided = list(dict.fromkeys(re.findall(r"'([A-Z_]{4,})'", decide)))
    assert [code for code in decided if code in outcomes] == [code for code in outcomes if code in decided]


def test_lua_and_python_agree_on_their_constants() -> None:
    for path in (*LUA, SHARED):
        for found in re.findall(r"MAX_MINOR = (\d+)", body(path)):
            assert int(found) == MAX_MINOR, path.stem
        for found in re.findall(r"FINGERPRINT_LENGTH = (\d+)", body(path)):
            assert int(found) == FINGERPRINT_LENGTH, path.stem


def test_the_map_names_every_key_of_the_code_and_no_other() -> None:
    builders = {
        name: function
        for name, function in inspect.getmembers(keys, inspect.isfunction)
        if name not in ("account_pattern", "account_id_of") and function.__module__ == keys.__name__
        and next(iter(inspect.signature(function).parameters), "") == "partition"
    }  # fmt: skip
    made = set()
    for function in builders.values():
        names = list(inspect.signature(function).parameters)[1:]
        made.add(_shape(function(7, *(f"<{name}>" for name in names))))
    mapped = {_shape(key.replace("{p}", "{7}")) for key in re.findall(r"^\| `(hf:[^`]+)`", README, re.MULTILINE)}
    assert made == mapped
    assert f"`{keys.SETTLED_CHANNEL}`" in README


def _shape(key: str) -> str:
    """A key without what fills its places."""
    return re.sub(r"<\w+>", "<>", key)


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.stem)
def test_scripts_make_no_key_of_their_own(path: Path) -> None:
    """A key that is not passed in would leave the partition, and a cluster would refuse it."""
    assert "hf:" not in body(path)


def test_the_keys_of_a_partition_share_its_hash_tag_whatever_the_ids_contain() -> None:
    for awkward in ("a:b", "{1}", "}{", "ü", "*", "a b"):
        for key in (keys.account(7, awkward), keys.record(7, awkward, awkward)):
            assert key.startswith("hf:{7}:")
        assert keys.account_of(keys.account(7, awkward)) == (7, awkward)


def test_one_entitys_external_ids_never_meet_anothers() -> None:
    assert keys.record(0, "a", "b:c") != keys.record(0, "a:b", "c")
    assert keys.claim(0, "a", "b:c") != keys.claim(0, "a:b", "c")
