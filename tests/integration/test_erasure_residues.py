"""Every file that is written is in the register of residues."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from before_and_after import CUSTOMERS, german_subjects
from governed_home import Home
from test_erasure import erase

from governance.rights import finish
from governance.rights.residues import residue_of

_written: set[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: paths that this process opens to write, renames to, or gives to SQLite."""
    if _written is None:
        return
    path = None
    if event == "open" and (
        set(str(arguments[1] or "")) & set("wax+") or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
    ):
        path = arguments[0]
    elif event == "os.rename":
        path = arguments[1]
    elif event == "sqlite3.connect":
        path = str(arguments[0]).removeprefix("file://").partition("?")[0]
    if isinstance(path, str | bytes | os.PathLike):
        _written.add(os.fsdecode(path))


def test_every_file_that_is_written_is_registered(home: Home, tmp_path: Path) -> None:
    """A pass, an erasure and a disclosure write nothing that the register of residues does not know.

    What Python opens is seen by an audit hook, what Arrow writes by looking at what is there.
    """
    global _written
    sys.addaudithook(_watch)
    there = {p.relative_to(home.path).as_posix() for p in home.path.rglob("*") if p.is_file()}
    made_by_the_demo = {
        path for path in there if path.startswith(("input/", "secrets/")) or path == "made.json"
    }
    _written = set()
    try:
        home.run(CUSTOMERS)
        subject = next(iter(german_subjects(home)))
        erase(home, "R", subject)
        finish(home.workspace())
    finally:
        seen, _written = _written, None
    present = {p.relative_to(home.path).as_posix() for p in home.path.rglob("*") if p.is_file()}
    assert not {path for path in present - made_by_the_demo if residue_of(_final(path)) is None}
    below = {Path(path).resolve() for path in seen}
    own = {
        path.relative_to(home.path.resolve()).as_posix()
        for path in below
        if path.is_relative_to(home.path.resolve())
    }
    assert len(own) > 20
    assert not {path for path in own if not path.startswith("secrets/") and residue_of(_final(path)) is None}
    elsewhere = {path for path in below if not path.is_relative_to(home.path.resolve())}
    assert not {path for path in elsewhere if "/dev/" not in str(path)}, "nothing is written outside the home"


def _final(path: str) -> str:
    """A temporary file by the name of the one that it becomes."""
    folder, _, name = path.rpartition("/")
    name = re.sub(r"^\.(.+)\.[0-9a-f]{8}$", r"\1", name)
    becomes = {"quarantine": "x/reasons.json", "segments": "x"}.get(folder.rpartition("/")[2], "current.json")
    name = re.sub(r"^\.(?:tmp|trash|lock)-.*$", becomes, name)
    return f"{folder}/{name}" if folder else name
