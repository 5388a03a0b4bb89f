"""What `governance report make gdpr-art15` looks up of a subject before the report is made, and its copy."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from governance.pipeline.workspace import Workspace


def read_identifier(subject: str) -> str:
    """The identifier; `-` reads it from the first line of standard input, so that no shell keeps it."""
    said = sys.stdin.readline().rstrip("\r\n") if subject == "-" else subject
    if not said:
        raise click.UsageError("no subject: write it on the first line of standard input")
    return said


def write_copies(workspace: Workspace, domain: str, identifier: str, out: Path) -> list[Path]:
    """The subject's rows of each released version, as JSON (Art. 15(3), 20(1)), by a governed read.

    The read is recorded, and leaves out what consent no longer covers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from governance.access import released_reader
    from governance.durable import replace_file
    from governance.pipeline.membership import subject_columns
    from governance.rights.access_answer import wanted_of
    from governance.rights.holdings import dataset_names, find_rows
    from governance.rights.receipt import known_subject

    wanted = wanted_of(workspace, domain, identifier, known_subject(workspace, domain, identifier))
    written = []
    for name in dataset_names(workspace):
        holding = find_rows(workspace, name, {domain: wanted})
        if holding is None or holding.manifest is None or not holding.current:
            continue
        people = subject_columns(holding.manifest)
        purpose = holding.manifest.body["run"]["purpose"]
        _, reader = released_reader(workspace, name, purpose=purpose)
        rows: list[dict[str, Any]] = []
        for batch in reader:
            own = {column: pa.array(wanted.places(batch[column]) >= 0) for column in people}
            for column, mask in own.items():
                # Who else a row is about is not the asker's to know (Art. 15(4)).
                theirs = pc.if_else(mask, batch[column], None)
                batch = batch.set_column(batch.schema.get_field_index(column), column, theirs)
            rows += batch.filter(functools.reduce(pc.or_, own.values())).to_pylist()
        path = out / f"gdpr-art15-{name}.rows.json"
        said = {"dataset": name, "version": holding.manifest.version, "purpose": purpose, "rows": rows}
        replace_file(path, (json.dumps(said, indent=1, default=str, ensure_ascii=False) + "\n").encode())
        written.append(path)
    return written
