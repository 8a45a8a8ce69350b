"""What others can change or read in the data directory is refused, with what to do about it."""

import os
from pathlib import Path

import pytest

from app.embedded.child_process import EmbeddedServerError
from app.embedded.private_files import SECRETS, require_private, write_private
from app.embedded.servers import EmbeddedServers, prepare_directory

SOMEBODY = 12_345


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:04o}"


def test_a_new_data_directory_is_its_owners_alone(tmp_path: Path) -> None:
    assert mode(prepare_directory(tmp_path / "new")) == "0700"


def test_an_empty_directory_is_made_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert mode(prepare_directory(tmp_path)) == "0700"


@pytest.mark.parametrize("bits", [0o777, 0o775, 0o1777, 0o720])
def test_a_directory_that_others_can_write_to_is_refused_with_what_is_in_it(tmp_path: Path, bits: int) -> None:
    (tmp_path / "secrets.json").write_text('{"owner_password": "planted", "app_password": "x", "cache_password": "y"}')
    (tmp_path / "secrets.json").chmod(0o600)
    tmp_path.chmod(bits)
    with pytest.raises(EmbeddedServerError, match=f"mode {bits:04o}.*chmod 700 {tmp_path}"):
        EmbeddedServers(tmp_path)
    tmp_path.chmod(0o700)
    assert [one.name for one in tmp_path.iterdir()] == ["secrets.json"], "nothing was made there"


@pytest.mark.parametrize("bits", [0o755, 0o750, 0o700])
def test_a_directory_that_others_can_only_read_is_taken(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    assert prepare_directory(tmp_path) == tmp_path
    assert mode(tmp_path) == f"{bits:04o}"


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("bits", [0o644, 0o640, 0o602])
def test_a_secret_that_others_have_access_to_is_refused(tmp_path: Path, name: str, bits: int) -> None:
    (tmp_path / name).touch()
    (tmp_path / name).chmod(bits)
    with pytest.raises(EmbeddedServerError, match=f"mode {bits:04o}.*chmod 600 {tmp_path / name}"):
        require_private(tmp_path)


def test_a_secret_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch(mode=0o600)
    (tmp_path / "secrets.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedServerError, match="must be an ordinary file"):
        require_private(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", [".", "secrets.json", "api-key"])
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, name: str) -> None:
    for one in ("secrets.json", "api-key"):
        (tmp_path / one).touch(mode=0o600)
    os.chown(tmp_path / name, SOMEBODY, SOMEBODY)
    with pytest.raises(EmbeddedServerError, match=f"user id {SOMEBODY}"):
        prepare_directory(tmp_path)


def test_a_private_file_is_written_whole_for_its_owner_and_once(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", "0600")
    written = path.stat()
    write_private(path, "new")
    assert path.stat().st_ino == written.st_ino, "the same text is left alone"


def test_a_private_file_that_cannot_be_written_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "secret", "new")
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]
