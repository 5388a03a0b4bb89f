"""Reports that were made, kept by the digest of their record: never overwritten, read back by their name.

A folder a report: the record, its page, its bundle and further forms, and ``made.json``, which says when and by whom.
Made anew from the same checkpoint a report is the same and stays where it is; only forms that it has not yet come in.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from governance.audit.making import ReportSource, make_report
from governance.audit.record import Asked
from governance.audit.registry import report_kind
from governance.durable import replace_file, sync
from governance.model.canonical import canonical, digest, parse, timestamp

_NAME = re.compile("[0-9a-f]{32}")
_FILE = re.compile(r"report(\.[a-z]{2})?(\.[a-z]{3,6}){1,2}")
_MADE = "made.json"
_ABANDONED_S = 86_400.0
BUNDLE, PAGE, RECORD_FILE = "report.zip", "report.html", "report.json"
HOLD_BODIES = ("zip", "pdf")
"""Endings of files that hold bodies of log entries: the bundle, and the PDF it is attached to."""


@dataclass(frozen=True, slots=True)
class Shelved:
    """A report on the shelf. ``name`` is 32 hexadecimal digits of SHA-256 of its record; ``made_at`` is RFC 3339."""

    name: str
    folder: Path
    kind: str
    title: str
    size: int
    made_at: str
    made_by: str
    audience: str
    personal: bool
    verdict: dict[str, Any]
    asked: dict[str, Any]
    period: dict[str, Any]

    @property
    def files(self) -> list[str]:
        """Names of its files, the page first."""
        found = [path.name for path in self.folder.iterdir() if _FILE.fullmatch(path.name)]
        return sorted(found, key=lambda name: (name != PAGE, name))

    def read(self, file: str) -> bytes:
        """One of its ``files``. Raises KeyError for another."""
        if file not in self.files:
            raise KeyError(file)
        return (self.folder / file).read_bytes()

    @property
    def record(self) -> dict[str, Any]:
        """Its record."""
        return dict(parse(self.read(RECORD_FILE)))


class Shelf:
    """A folder of reports. Several processes may put into it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self,
        workspace: ReportSource,
        kind: str,
        *,
        by: str,
        at: datetime,
        as_of: int | None = None,
        period: str | None = None,
        asked: Asked | None = None,
        forms: Sequence[str] = (),
        language: str = "en",
        audience: str | None = None,
    ) -> Shelved:
        """Make a report with its bundle and keep it.

        Killed at any point, nothing half done is ever listed.

        Args:
            by: who wanted it.
            at: the time it was made.

        Raises:
            What :func:`governance.audit.making.make_report` raises.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep(at)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=self.folder) as making:
            made = make_report(
                workspace,
                kind,
                Path(making),
                bundle=True,
                as_of=as_of,
                period=period,
                asked=asked,
                forms=forms,
                language=language,
                audience=audience,
            )
            name, stem = digest(canonical(made.record))[7:39], made.json.stem
            for path in list(Path(making).iterdir()):
                path.rename(path.with_name("report" + path.name.removeprefix(stem)))
            said = {
                "kind": kind,
                "title": made.record["report"]["title"],
                "size": made.record["as_of"]["size"],
                "made_at": timestamp(at),
                "made_by": by,
                "audience": made.record.get("audience", {"name": "internal"})["name"],
                "personal": report_kind(kind).personal,
                "verdict": made.record["verdict"],
                # Who is asked about stands in the record, which fewer may see than the list.
                "asked": {k: v for k, v in (asked or {}).items() if not report_kind(kind).personal},
                "period": made.record["period"],
            }
            replace_file(Path(making) / _MADE, canonical(said))
            self._take(Path(making), self.folder / name)
        return Shelved(name, self.folder / name, **json.loads((self.folder / name / _MADE).read_bytes()))

    def listed(self) -> list[Shelved]:
        """Every report, the newest first."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        found = [shelved for name in names if (shelved := self.find(name)) is not None]
        return sorted(found, key=lambda one: (one.made_at, one.name), reverse=True)

    def find(self, name: str) -> Shelved | None:
        """The report of that name, if there is one."""
        folder = self.folder / name
        if _NAME.fullmatch(name) is None or not (folder / _MADE).is_file():
            return None
        try:
            return Shelved(name, folder, **json.loads((folder / _MADE).read_bytes()))
        except (ValueError, TypeError):
            return None

    def concerning(self, entries: Iterable[int]) -> list[Shelved]:
        """Reports that rest on any of these log entries, the newest first."""
        wanted = sorted(set(entries))
        return [one for one in self.listed() if _shares(_cited(one.folder), wanted)] if wanted else []

    def _sweep(self, at: datetime) -> None:
        """Take away what a process that was killed left half done, a day later."""
        for path in [*self.folder.glob(".making-*"), *self.folder.glob(".taking-*")]:
            with contextlib.suppress(OSError):
                if at.timestamp() - path.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(path)

    def _take(self, making: Path, target: Path) -> None:
        if not target.exists():
            # Copied beside, because whoever made the temporary folder also takes it away.
            whole = Path(tempfile.mkdtemp(prefix=".taking-", dir=self.folder))
            for path in making.iterdir():
                path.rename(whole / path.name)
            try:
                whole.rename(target)
                sync(self.folder)
                return
            except OSError:
                making = whole
        for path in making.iterdir():
            if path.name != _MADE:
                with contextlib.suppress(FileExistsError):
                    os.link(path, target / path.name)
        if making.name.startswith(".taking-"):
            shutil.rmtree(making)


@lru_cache(64)
def _cited(folder: Path) -> array[int]:
    """Which entries a report rests on, ascending; it never changes."""
    record = parse((folder / RECORD_FILE).read_bytes())
    return array("q", sorted(entry["index"] for entry in record["entries"]))


def _shares(cited: array[int], wanted: Sequence[int]) -> bool:
    places = ((bisect_left(cited, index), index) for index in wanted)
    return any(place < len(cited) and cited[place] == index for place, index in places)
