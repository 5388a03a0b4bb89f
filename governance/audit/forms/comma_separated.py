"""CSV (RFC 4180): the rows of a report, one line each, in UTF-8 with a byte order mark, which spreadsheets need."""

from __future__ import annotations

import csv
import io
from typing import Any

from governance.audit.forms.flat import header, rows
from governance.audit.languages import Words


def render(record: dict[str, Any], said: Words, bundle: bytes | None) -> bytes:
    """The rows. Scope, exceptions and unknowns are in the other forms."""
    del bundle
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\r\n")
    writer.writerow(header(record, said))
    writer.writerows(rows(record))
    return made.getvalue().encode("utf-8-sig", "replace")
