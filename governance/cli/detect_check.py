"""`governance detect check`: try a file of detectors on its own examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.cli.options import json_option, show, table

if TYPE_CHECKING:
    from governance.detect.detectors.custom import ExaminedFile


@click.command("check")
@click.argument(
    "files", metavar="FILE|FOLDER…", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Try the examples of your own detectors and say how fast each pattern is.

    Exits with 1 when an example does not hold or a pattern is refused, and says which and why.
    """
    from governance.detect.detectors.custom import examine
    from governance.detect.detectors.detector_files import detector_paths, refused
    from governance.detect.detectors.registry import builtin

    known = list(builtin().taxonomy)
    examined = []
    for path in detector_paths(files):
        examined.append(examine(path, known))
        known += examined[-1].classifications
    show({"files": [_as_json(file) for file in examined]}, as_json, lambda: _print(examined))
    for file in examined:
        if file.faults:
            raise refused(file.path, file.faults)


def _as_json(file: ExaminedFile) -> dict[str, Any]:
    return {
        "file": str(file.path),
        "digest": file.digest,
        "classifications": list(file.classifications),
        "entries": [
            {
                "line": entry.line,
                "kind": entry.kind,
                "classification": entry.classification,
                "examples": [
                    {"text": e.text, "expected": e.expected, "matched": e.matched, "holds": e.holds}
                    for e in entry.examples
                ],
                "slowest_mb_per_s": None if entry.slowest is None else round(entry.slowest, 1),
                "slowest_on": entry.corpus or None,
            }
            for entry in file.entries
        ],
        "faults": [{"line": f.line, "code": f.code, "reason": f.reason} for f in file.faults],
    }


def _print(examined: list[ExaminedFile]) -> None:
    rows = []
    for file in examined:
        for entry in file.entries:
            speed = (
                "no pattern"
                if entry.slowest is None
                else f"{entry.slowest:,.0f} MB/s at least ({entry.corpus})"
            )
            head = (f"{file.path.name}:{entry.line}", entry.kind, entry.classification)
            for e in entry.examples or (None,):
                said = (
                    ("", "", "") if e is None else (e.text, _words(e.expected), "ok" if e.holds else "WRONG")
                )
                rows.append((*head, *said, speed))
                head, speed = ("", "", ""), ""
    if rows:
        table(("where", "kind", "classification", "example", "must", "result", "speed"), rows)
    right = sum(e.holds for file in examined for entry in file.entries for e in entry.examples)
    total = sum(len(entry.examples) for file in examined for entry in file.entries)
    faults = sum(len(file.faults) for file in examined)
    click.echo(f"{right} of {total} examples hold" + (f"; {faults} faults" if faults else ""))


def _words(expected: bool) -> str:
    return "match" if expected else "not match"
