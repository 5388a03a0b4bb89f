"""What only a directory can get wrong."""

import os
import resource
import stat
from pathlib import Path

import pytest

from governance.errors import StorageError
from governance.storage import register, schemes, storage_for
from governance.storage.file import FileStorage, file_path


def test_bare_paths_and_file_uris_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "a b"
    for uri in (str(target), target.as_uri(), "a b", "file:a%20b", f"file://localhost{tmp_path}/a%20b"):
        storage = storage_for(uri)
        assert isinstance(storage, FileStorage)
        assert storage.root == target
        assert storage.uri == target.as_uri()
    assert not target.exists()


@pytest.mark.parametrize("uri", ["file://elsewhere/x", "file:///x?y=1", "file:///x#y", "file:", ""])
def test_unusable_file_uris(uri: str) -> None:
    with pytest.raises(StorageError, match="GOV-724"):
        storage_for(uri)


def test_an_unknown_scheme_names_what_exists() -> None:
    with pytest.raises(StorageError, match=r"GOV-724 there is no storage for ftp: URIs; there is .*file:"):
        storage_for("ftp://x/y")


def test_a_scheme_costs_one_registration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.storage.registry._FACTORIES", {})
    register("Mine", lambda uri: FileStorage(tmp_path / uri.removeprefix("mine:")))
    assert schemes() == ("mine",)
    assert storage_for("mine:x").path("y") == str(tmp_path / "x" / "y")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_modes_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        storage = FileStorage(tmp_path / "root")
        storage.write("a/b/c", b"")
        storage.swap_pointer("current", None, b"")
        (tmp_path / "root/a/b/loose").write_bytes(b"")
        (tmp_path / "root/a/b/open").mkdir()
        storage.sync("a")
    finally:
        os.umask(before)
    for path in (tmp_path / "root").rglob("*"):
        assert _mode(path) == (0o700 if path.is_dir() else 0o600), path
    assert _mode(tmp_path / "root") == 0o700


def test_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    storage = FileStorage(tmp_path / "root")
    storage.write("inside/file", b"f")
    (tmp_path / "root/dir").symlink_to(outside)
    (tmp_path / "root/file").symlink_to(outside / "secret")
    (tmp_path / "root/kept").symlink_to("inside")
    for use in (
        lambda: storage.read("dir/secret"),
        lambda: storage.read("file"),
        lambda: storage.write("dir/new", b""),
        lambda: storage.write("file", b""),
        lambda: storage.list("dir"),
        lambda: storage.remove_tree("dir/secret"),
        lambda: storage.swap_pointer("dir/current", None, b""),
        lambda: storage.sync("dir"),
    ):
        with pytest.raises(StorageError, match="GOV-724"):
            use()
    assert storage.read("kept/file") == b"f"
    assert storage.list() == ["dir", "file", "inside/file", "kept"]
    assert sorted(p.name for p in outside.iterdir()) == ["secret"]


def test_removing_a_tree_does_not_follow_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"")
    storage = FileStorage(tmp_path / "root")
    storage.write("v/x", b"")
    (tmp_path / "root/v/link").symlink_to(outside)
    storage.remove_tree("v")
    assert (outside / "kept").exists()
    assert storage.list() == []


def test_sync_refuses_a_link_and_what_is_not_there(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "root")
    storage.write("v/x", b"")
    (tmp_path / "root/v/link").symlink_to("x")
    with pytest.raises(StorageError, match="GOV-724"):
        storage.sync("v")
    with pytest.raises(StorageError, match="GOV-724"):
        storage.sync("w")


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "root")
    storage.swap_pointer("current", None, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageError, match="GOV-724"):
            storage.swap_pointer("current", b"old", b"n" * 8192)
        with pytest.raises(StorageError, match="GOV-724"):
            storage.write("m", b"n" * 8192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert storage.pointer("current") == b"old"
    assert storage.list() == ["current"]
    assert sorted(p.name for p in (tmp_path / "root").iterdir()) == [".lock-current", "current"]


def test_a_file_where_a_directory_is_needed(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "root")
    storage.write("a", b"")
    with pytest.raises(StorageError, match="GOV-724"):
        storage.write("a/b", b"")
    with pytest.raises(StorageError, match="GOV-724"):
        storage.read("a/b")


def test_sweep_removes_what_crashes_left(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "root")
    storage.write("a/x", b"")
    (tmp_path / "root/a/.tmp-1").write_bytes(b"half")
    (tmp_path / "root/.trash-1").mkdir()
    (tmp_path / "root/.trash-1/y").write_bytes(b"")
    assert storage.list() == ["a/x"]
    assert storage.sweep() == 2
    assert sorted(p.name for p in (tmp_path / "root").rglob("*")) == ["a", "x"]


def test_names_kept_for_writing_are_refused(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    for name in (".tmp-1", "a/.trash-1", ".trash-1/a", ".lock-current"):
        with pytest.raises(StorageError, match="GOV-724"):
            storage.write(name, b"")


def test_file_path_reads_what_it_is_given() -> None:
    assert file_path("a%20b") == Path("a%20b")
    assert file_path("FILE:///a%3Fb") == Path("/a?b")
