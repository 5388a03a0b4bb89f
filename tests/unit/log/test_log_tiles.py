"""The log as C2SP tlog-tiles, held to the specification's definition and to a published log."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import LogError
from governance.log import Checkpoint, Log, NewEntry, open_storage, tree, vkey_of
from governance.log.export import export_tiles, verify_tiles
from governance.log.note import checkpoint_text, sign_note
from governance.log.tiles import (
    Edge,
    Resource,
    content,
    entries_bundle,
    leaf_hashes,
    leaves_of,
    resources,
    tile,
)
from tests.signing_key import Key

ORIGIN = "example.com/log"
BIG = 65_537
SIZES = (0, 1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537)


VKEY = vkey_of(ORIGIN, Key().public_key)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    storage = open_storage(str(tmp_path_factory.mktemp("store") / "log"), create=True, origin=ORIGIN)
    log = Log(storage, signer=None, clock=lambda: datetime(2026, 1, 31, tzinfo=UTC))
    log.append([NewEntry(b"%d" % number, "text/plain", "ingest:test") for number in range(BIG)])
    return log


@pytest.fixture(scope="module")
def leaves(log: Log) -> list[bytes]:
    return [entry.leaf for entry in log.entries()]


def signed(log: Log, size: int, key: Key | None = None, origin: str = ORIGIN) -> Checkpoint:
    root = tree.root(size, log.storage.nodes)
    note = sign_note(checkpoint_text(origin, size, root), origin, key or Key())
    return Checkpoint(origin, size, root, note)


def recursive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH as RFC 6962 §2.1 defines it."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + recursive_root(leaves[:split]) + recursive_root(leaves[split:])).digest()


def expected_files(leaves: Sequence[bytes]) -> dict[str, bytes]:
    """Every tile and bundle from the specification's formulas, sharing no code with the package."""

    @cache
    def mth(level: int, place: int) -> bytes:
        if level == 0:
            return hashlib.sha256(b"\0" + leaves[place]).digest()
        row = [mth(level - 1, place * 256 + i) for i in range(256)]
        while len(row) > 1:
            row = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(row[::2], row[1::2], strict=True)]
        return row[0]

    files: dict[str, bytes] = {}
    size, level = len(leaves), 0
    while size >> (8 * level):
        count = size // 256**level
        for n in range(-(-count // 256)):
            width = min(256, count - n * 256)
            text = f"{n:03d}" if n < 1000 else f"x{n // 1000:03d}/{n % 1000:03d}"
            name = text if width == 256 else f"{text}.p/{width}"
            files[f"tile/{level}/{name}"] = b"".join(mth(level, n * 256 + i) for i in range(width))
            if level == 0:
                part = leaves[n * 256 : n * 256 + width]
                files[f"tile/entries/{name}"] = b"".join(len(v).to_bytes(2, "big") + v for v in part)
        level += 1
    return files


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("size", SIZES)
def test_an_export_is_what_the_specification_says(
    log: Log, leaves: list[bytes], size: int, tmp_path: Path
) -> None:
    checkpoint = signed(log, size)
    done = export_tiles(log.storage, checkpoint, tmp_path / "out")
    found = files_in(tmp_path / "out")
    assert found.pop("checkpoint") == checkpoint.note.encode()
    expected = expected_files(leaves[:size])
    assert found.keys() == expected.keys()
    assert found == expected
    assert (done.size, done.since, done.files) == (size, 0, len(expected))
    report = verify_tiles(tmp_path / "out", VKEY)
    assert report.ok, report.reason
    assert (report.size, report.root, report.compared) == (size, checkpoint.root, 1)


@given(size=st.integers(0, 3000), since=st.integers(0, 3000))
@settings(max_examples=25, deadline=None)
def test_an_export_grows_by_what_is_new(
    log: Log, leaves: list[bytes], tmp_path_factory: pytest.TempPathFactory, size: int, since: int
) -> None:
    folder = tmp_path_factory.mktemp("out")
    since, size = sorted((since, size))
    export_tiles(log.storage, signed(log, since), folder)
    before = {name: (folder / name).stat() for name in files_in(folder) if name != "checkpoint"}
    done = export_tiles(log.storage, signed(log, size), folder)
    assert (done.since, done.size) == (since, size)
    assert done.files == len(files_in(folder)) - 1 - len(before)
    for name, stat in before.items():
        assert (folder / name).stat().st_mtime_ns == stat.st_mtime_ns, f"{name} was written again"
    # Partial tiles of checkpoints that were published stay; everything of the newer one is there.
    found, expected = files_in(folder), expected_files(leaves[:size])
    assert {name: found.get(name) for name in expected} == expected
    assert verify_tiles(folder, VKEY, [signed(log, since).note]).compared == 2


@given(size=st.integers(0, 200_000), since=st.integers(0, 200_000))
def test_resources_name_what_is_new(size: int, since: int) -> None:
    since, size = sorted((since, size))
    old, new = set(resources(since)), set(resources(size))
    assert set(resources(size, since)) == new - old
    for resource in new:
        assert Resource.parse(resource.path) == resource


def test_the_specifications_example_of_70_000() -> None:
    named = list(resources(70_000))
    count = {level: sum(r.level == level and r.width == 256 for r in named) for level in range(3)}
    assert count == {0: 273, 1: 1, 2: 0}
    assert [(r.level, r.width) for r in named if r.width < 256] == [(0, 112), (1, 17), (2, 1)]
    assert [r.path for r in resources(256)] == ["tile/0/000", "tile/1/000.p/1"]


def test_the_specifications_example_of_a_path() -> None:
    assert Resource(0, 1_234_067, 8).path == "tile/0/x001/x234/067.p/8"
    assert Resource(None, 1_234_067).path == "tile/entries/x001/x234/067"
    assert Resource.parse("tile/entries/x001/x234/067") == Resource(None, 1_234_067)


@pytest.mark.parametrize(
    "path",
    [
        *[
            "tile/0/1",
            "tile/0/0001",
            "tile/00/001",
            "tile/64/001",
            "tile/0/x000/001",
            "tile/0/001/001",
            "tile/0/x001",
        ],
        *["tile/0/001.p/0", "tile/0/001.p/256", "tile/0/001.p/01", "tile/-1/001", "tile/data/001"],
        "/tile/0/001",
        "tile/0/../../etc/passwd",
        "tile/0/001\n",
        "tile/0/٠٠١",
    ],
)
def test_another_spelling_names_nothing(path: str) -> None:
    assert Resource.parse(path) is None


def test_tiles_are_served_from_the_store(log: Log, leaves: list[bytes]) -> None:
    expected = expected_files(leaves)
    for path in ("tile/0/000", "tile/0/255", "tile/1/000", "tile/2/000.p/1", "tile/0/256.p/1"):
        found = Resource.parse(path)
        assert found is not None
        assert found.level is not None
        assert tile(log.storage, found.level, found.index, found.width) == expected[path]
    assert entries_bundle(log.storage, 256, 1) == expected["tile/entries/256.p/1"]
    assert entries_bundle(log.storage, 3) == expected["tile/entries/003"]
    assert leaves_of(entries_bundle(log.storage, 3)) == leaves[768:1024]
    for level, index, width in [(0, 256, 2), (0, 257, 1), (1, 1, 1), (2, 0, 2), (0, -1, 256), (64, 0, 1)]:
        with pytest.raises(LogError, match="GOV-504"):
            tile(log.storage, level, index, width)
    with pytest.raises(LogError, match="GOV-504"):
        entries_bundle(log.storage, 256, 256)


def test_a_server_answers_what_the_checkpoint_commits_to(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "log"), create=True, origin=ORIGIN)
    log = Log(storage, signer=None, clock=lambda: datetime(2026, 1, 31, tzinfo=UTC))
    assert content(storage, "checkpoint") is None
    log.append([NewEntry(b"%d" % number, "text/plain", "ingest:test") for number in range(600)])
    assert content(storage, "tile/0/000") is None, "nothing is signed yet"
    checkpoint = signed(log, 600)
    storage.save_checkpoint(600, checkpoint.note)
    log.append([NewEntry(b"%d" % number, "text/plain", "ingest:test") for number in range(600, 700)])
    export_tiles(storage, checkpoint, tmp_path / "out")
    for path, data in files_in(tmp_path / "out").items():
        assert content(storage, path) == data
    assert content(storage, "tile/entries/002.p/7") == entries_bundle(storage, 2, 7)
    for path in (
        "tile/0/002.p/89",
        "tile/0/002",
        "tile/entries/002.p/100",
        "tile/1/000.p/3",
        "tile/1/000",
        "x",
        "",
    ):
        assert content(storage, path) is None
    storage.close()


# transparency-dev/trillian-tessera, testdata/build_log.sh and testdata/log/ (Apache-2.0): a log of 15
# entries with the checkpoints signed at sizes 3 and 15.
TESSERA_KEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
TESSERA_LEAVES = (
    b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split()
)
TESSERA_3 = (
    "example.com/log/testdata\n3\nWqx3HImawpLnS/Gv4ubjAvi1WIOy0b8Ze0amvqbavKk=\n\n— example.com/log/testdata"
    " M9e0lvAQRtH832pk2RTbeSeZMkp4FZSdJYFBUjO5SKxuRbywPUF3cx+HUrb50kjd3rUWW/fj53Wj1dwcwh9bGQnqVAg=\n"
)
TESSERA_15 = (
    "example.com/log/testdata\n15\nrKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=\n\n— example.com/log/testdata"
    " M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+CKubMt53MvIt/uEWP6zdkdIQzd/fmwlM/dlPWF74ewI=\n"
)


def test_a_published_log_of_another_implementation_verifies(tmp_path: Path) -> None:
    for path, data in {**expected_files(TESSERA_LEAVES), "checkpoint": TESSERA_15.encode()}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    report = verify_tiles(tmp_path, TESSERA_KEY, [TESSERA_3])
    assert report.ok, report.reason
    assert (report.size, report.compared) == (15, 2)
    edge = Edge()
    edge.append(leaf_hashes(TESSERA_LEAVES[:3]))
    assert edge.root().hex() == "5aac771c899ac292e74bf1afe2e6e302f8b55883b2d1bf197b46a6bea6dabca9"


@pytest.fixture
def out(log: Log, tmp_path: Path) -> Path:
    export_tiles(log.storage, signed(log, 70_000 - 69_000 + 300), tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("path", "offset", "first"),
    [
        ("tile/entries/002", 40, 512),
        ("tile/entries/005.p/20", 40, 1280),
        ("tile/0/001", 33, 257),
        ("tile/0/005.p/20", 639, 1299),
        ("tile/1/000.p/5", 65, 512),
    ],
)
def test_a_flipped_byte_is_found(out: Path, path: str, offset: int, first: int) -> None:
    data = bytearray((out / path).read_bytes())
    data[offset] ^= 1
    (out / path).write_bytes(data)
    report = verify_tiles(out, VKEY)
    assert not report.ok
    assert report.first_bad == first


def test_a_missing_or_cut_file_is_found(out: Path) -> None:
    bundle = out / "tile/entries/001"
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-1])
    assert "cut short" in verify_tiles(out, VKEY).reason
    bundle.write_bytes(whole + b"\0\0")
    assert "257 entries instead of 256" in verify_tiles(out, VKEY).reason
    bundle.unlink()
    assert verify_tiles(out, VKEY).first_bad == 256
    bundle.write_bytes(whole)
    (out / "tile/0/003").unlink()
    assert "tile/0/003 cannot be read" in verify_tiles(out, VKEY).reason


def test_a_consistent_forgery_does_not_come_to_the_signed_root(out: Path, leaves: list[bytes]) -> None:
    forged = [*leaves[:1299], leaves[0]]
    for path, data in expected_files(forged).items():
        (out / path).write_bytes(data)
    assert "signed root" in verify_tiles(out, VKEY).reason


def test_an_older_checkpoint_must_be_extended(out: Path, log: Log) -> None:
    seen: list[tuple[int, int]] = []
    older = [signed(log, size).note for size in (0, 1, 256, 700)]
    assert verify_tiles(out, VKEY, older, lambda *now: seen.append(now)).compared == 5
    assert seen[-1] == (1300, 1300)
    newer = signed(log, 1301)
    assert "1301 entries was signed" in verify_tiles(out, VKEY, [newer.note]).reason
    other = sign_note(checkpoint_text(ORIGIN, 700, bytes(32)), ORIGIN, Key())
    assert "first 700 entries" in verify_tiles(out, VKEY, [other]).reason
    with pytest.raises(LogError, match="GOV-506"):
        verify_tiles(out, vkey_of(ORIGIN, Key(bytes(32)).public_key))
    with pytest.raises(LogError, match="GOV-515"):
        verify_tiles(out / "nowhere", VKEY)


def test_an_export_refuses_what_it_does_not_extend(out: Path, log: Log) -> None:
    with pytest.raises(LogError, match="GOV-503"):
        export_tiles(log.storage, signed(log, 1299), out)
    (out / "tile/0/006").write_bytes(b"planted")
    with pytest.raises(LogError, match="GOV-515"):
        export_tiles(log.storage, signed(log, 2000), out)
    assert verify_tiles(out, VKEY).size == 1300
    (out / "checkpoint").write_text("not a note")
    with pytest.raises(LogError, match="GOV-515"):
        export_tiles(log.storage, signed(log, 2000), out)
    (out / "checkpoint").write_text(signed(log, 5, origin="example.com/other").note)
    with pytest.raises(LogError, match="GOV-502"):
        export_tiles(log.storage, signed(log, 2000), out)
    fork = Checkpoint(ORIGIN, 5, bytes(32), sign_note(checkpoint_text(ORIGIN, 5, bytes(32)), ORIGIN, Key()))
    (out / "checkpoint").write_text(fork.note)
    with pytest.raises(LogError, match="GOV-503"):
        export_tiles(log.storage, signed(log, 2000), out)


def test_what_does_not_come_to_the_signed_root_is_not_published(log: Log, tmp_path: Path) -> None:
    wrong = Checkpoint(ORIGIN, 300, bytes(32), "")
    with pytest.raises(LogError, match="GOV-504"):
        export_tiles(log.storage, wrong, tmp_path)
    assert not (tmp_path / "checkpoint").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="GOV-519"):
        export_tiles(log.storage, signed(log, 3), tmp_path / "file" / "out")


def test_files_are_private_unless_asked(log: Log, tmp_path: Path) -> None:
    export_tiles(log.storage, signed(log, 300), tmp_path / "own")
    export_tiles(log.storage, signed(log, 300), tmp_path / "all", public=True)
    for name, mode in (("own", 0), ("all", 0o044)):
        assert {f.stat().st_mode & 0o044 for f in (tmp_path / name).rglob("*")} == {mode}


VICTIM = """
import sys
from pathlib import Path
from governance.log import open_storage, parse_checkpoint
from governance.log.export import export_tiles
folder, vkey = Path(sys.argv[2]), sys.argv[3]
checkpoint = parse_checkpoint(Path(sys.argv[4]).read_text(), vkey)
print("start", flush=True)
export_tiles(open_storage(sys.argv[1]), checkpoint, folder)
"""


def test_kill_9_leaves_the_older_export(log: Log, tmp_path: Path) -> None:
    out, note = tmp_path / "out", tmp_path / "note"
    export_tiles(log.storage, signed(log, 1000), out)
    note.write_text(signed(log, 60_000).note)
    for _ in range(3):
        before = len(list(out.rglob("*")))
        arguments = [sys.executable, "-c", VICTIM, log.storage.location, str(out), VKEY, str(note)]
        victim = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert victim.stdout is not None
        victim.stdout.readline()
        while victim.poll() is None and len(list(out.rglob("*"))) < before + 30:
            pass
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
        report = verify_tiles(out, VKEY)
        assert report.ok, report.reason
        assert report.size in (1000, 60_000)
    export_tiles(log.storage, signed(log, 60_000), out)
    assert verify_tiles(out, VKEY, [signed(log, 1000).note]).compared == 2
