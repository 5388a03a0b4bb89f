"""XLSX (ISO/IEC 29500): the rows, the exceptions, the unknowns and what the report covers, a sheet each.

Every cell is a text and none a formula. Nothing in the file depends on the clock.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from governance.audit.forms.flat import REMARK_HEADER, control, header, inert, remarks, rows
from governance.audit.languages import Words
from governance.errors import SettingError

_MOST = 32_767
_CUT = " … (cut: the record holds all of it)"
_WIDEST = 60


def render(record: dict[str, Any], said: Words, bundle: bytes | None) -> bytes:
    """The workbook.

    Raises:
        SettingError: GOV-902 when XlsxWriter is not installed.
    """
    del bundle
    try:
        import xlsxwriter
    except ImportError:
        raise SettingError(
            "GOV-902",
            "workbooks are written with XlsxWriter, which is not installed",
            "pip install 'airflow-governance[reports]'",
        ) from None
    made = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(made, options) as book:
        book.set_properties(
            {
                "title": said(record["report"]["title"]),
                "comments": f"Root hash {record['as_of']['root']}",
                "created": _last(record),
            }
        )
        bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bg_color": "#E8EDF3"})
        wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        formats = (bold, wrapped)
        _sheet(book, said("Summary"), ("", ""), [list(pair) for pair in control(record, said)], formats)
        _sheet(
            book,
            said("Exceptions"),
            [said(name) for name in REMARK_HEADER],
            remarks(record, "exceptions"),
            formats,
        )
        _sheet(
            book,
            said("Unknowns"),
            [said(name) for name in REMARK_HEADER],
            remarks(record, "unknowns"),
            formats,
        )
        _sheet(book, said("Rows"), header(record, said), rows(record), formats)
        _sheet(
            book,
            said("Cannot prove"),
            (said("Statement"),),
            [[inert(said(s))] for s in record["statements"]],
            formats,
        )
    return made.getvalue()


def _sheet(book: Any, name: str, head: Sequence[str], lines: Iterable[Sequence[str]], formats: Any) -> None:
    bold, wrapped = formats
    sheet = book.add_worksheet(name)
    widths = [len(text) for text in head]
    for column, text in enumerate(head):
        sheet.write_string(0, column, text, bold)
    last = 0
    for last, line in enumerate(lines, start=1):
        for column, text in enumerate(line):
            cut = text if len(text) <= _MOST else text[: _MOST - len(_CUT)] + _CUT
            sheet.write_string(last, column, cut, wrapped)
            widths[column] = max(widths[column], len(cut))
    for column, width in enumerate(widths):
        sheet.set_column(column, column, min(max(width, 8), _WIDEST) + 1)
    sheet.freeze_panes(1, 0)
    if last and head[0]:
        sheet.autofilter(0, 0, last, len(head) - 1)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)


def _last(record: dict[str, Any]) -> datetime:
    """When the log last received something: the only time a report knows."""
    said = record["as_of"]["last_entry_received"]
    return datetime.fromisoformat(said) if said else datetime(1980, 1, 1, tzinfo=UTC)
