"""Durable files: whole or not there, and locks."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from governance.durable import locked, replace_file, staged


def test_a_replaced_file_has_its_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    replace_file(file, b"one")
    replace_file(file, b"two")
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["head.json"]


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "head.json").mkdir()
    with pytest.raises(OSError):
        replace_file(tmp_path / "head.json", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["head.json"]


def test_a_staged_file_is_hidden_and_ends_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError), staged(tmp_path / "head.json", b"one") as made:
        assert made.read_bytes() == b"one"
        assert made.name.startswith(".head.json.")
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("held", "asked"), [(True, fcntl.LOCK_SH), (False, fcntl.LOCK_EX)])
def test_a_lock_keeps_others_out_until_its_block_ends(tmp_path: Path, held: bool, asked: int) -> None:
    path = tmp_path / ".lock"
    with locked(path, exclusive=held), path.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, asked | fcntl.LOCK_NB)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), locked(tmp_path / ".lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
