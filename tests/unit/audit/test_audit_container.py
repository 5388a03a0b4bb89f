"""The container: hostile archives are refused in memory, whatever is packed is read."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from audit_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.audit import MadeReport, make_report, verify_bundle
from governance.audit.checking import container
from governance.errors import AuditError

Members = dict[str, bytes]


@pytest.fixture
def bundle(accounting: MadeReport) -> Path:
    assert accounting.bundle is not None
    return accounting.bundle


def _zip(path: Path, names: list[str], *, method: int = zipfile.ZIP_STORED, size: int = 3) -> Path:
    with pytest.warns(UserWarning) if len(set(names)) < len(names) else _nothing():  # noqa: SIM117
        with zipfile.ZipFile(path, "w", method) as archive:
            for name in names:
                archive.writestr(name, b"0" * size)
    return path


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.parametrize(
    "names",
    [["../../etc/passwd"], ["/abs.json"], ["a\\b.json"], ["record.json", "record.json"], ["a/b/c.json"], []],
)
def test_hostile_archives_are_refused(tmp_path: Path, world: World, names: list[str]) -> None:
    with pytest.raises(AuditError) as refused:
        verify_bundle(_zip(tmp_path / "hostile.zip", names), world.vkey)
    assert refused.value.code == "GOV-801"
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.zip"]


def test_a_zip_bomb_is_never_inflated(tmp_path: Path, world: World) -> None:
    bomb = _zip(tmp_path / "bomb.zip", ["record.json"], method=zipfile.ZIP_DEFLATED, size=50_000_000)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(AuditError, match="compressed") as refused:
        verify_bundle(bomb, world.vkey)
    assert refused.value.code == "GOV-801"


def test_a_member_that_claims_to_be_huge_is_refused(tmp_path: Path, world: World, bundle: Path) -> None:
    raw = bytearray(bundle.read_bytes())
    struct.pack_into("<LL", raw, 18, 0xFFFFFFF0, 0xFFFFFFF0)
    path = tmp_path / "huge.zip"
    path.write_bytes(raw)
    with pytest.raises(AuditError, match="longer than the bundle"):
        verify_bundle(path, world.vkey)


def test_what_is_no_file_is_refused(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path, tmp_path / "absent.zip"):
        with pytest.raises(AuditError) as refused:
            verify_bundle(path, world.vkey)
        assert refused.value.code == "GOV-801"
    (tmp_path / "large.zip").write_bytes(b"PK\x03\x04" * 100)
    monkeypatch.setattr(container, "MAX_BYTES", 100)
    with pytest.raises(AuditError, match="at most"):
        verify_bundle(tmp_path / "large.zip", world.vkey)


def test_a_bundle_that_would_be_too_large_is_not_made(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "MAX_MEMBERS", 5)
    with pytest.raises(AuditError) as refused:
        make_report(world, "hipaa-528", tmp_path / "out", bundle=True)
    assert refused.value.code == "GOV-804" and not list(tmp_path.glob("out/*"))


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}\.[a-z]{1,4}", fullmatch=True), st.binary(max_size=60), min_size=1
    )
)
def test_what_is_packed_is_read(tmp_path_factory: pytest.TempPathFactory, members: Members) -> None:
    path = tmp_path_factory.mktemp("pack") / "x.zip"
    path.write_bytes(container.pack(members))
    packed = container.read(path)
    assert (dict(packed.members), packed.damaged) == (members, ())
