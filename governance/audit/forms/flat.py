"""A record as plain tables: what an officer sorts and files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from governance.audit.blocks import Block, Items, Terms, Text, utc
from governance.audit.languages import Words
from governance.audit.registry import report_kind

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula (OWASP, CSV injection): quoted where it would begin one.

    A plain number is left as it is. Control characters, which neither form can hold, are shown as U+FFFD.
    """
    clean = "".join(c if c in "\t\n" or c.isprintable() or c in "\u2028\u2029" else "\ufffd" for c in text)
    begins = clean.lstrip(" \u00a0\ufeff\u200b").startswith(_FORMULA)
    return "'" + clean if begins and not clean.lstrip("+-").replace(".", "", 1).isdecimal() else clean


def header(record: dict[str, Any], said: Words) -> list[str]:
    """Of :func:`rows`: number and title, then each column with how it is known and the entries it cites."""
    names = [said("No."), said("Row")]
    for column in record["columns"]:
        heading = inert(said(str(column["heading"])))
        names += [heading, f"{heading}: {said('basis')}", f"{heading}: {said('entries')}"]
    return names


def rows(record: dict[str, Any]) -> Iterator[list[str]]:
    """A line a row, inert texts in the order of :func:`header`."""
    present = report_kind(record["report"]["kind"]).present
    for number, row in enumerate(record["rows"], start=1):
        line = [str(number), inert(str(row["title"]))]
        for column in record["columns"]:
            key = column["key"]
            cell = row["cells"].get(key)
            if cell is None:
                line += ["", "", ""]
                continue
            said = "" if cell["value"] is None else plain(present(key, cell["value"]))
            note = str(cell.get("note") or "")
            shown = f"{said} [{note}]" if said and note else said or note
            line += [inert(shown), cell["basis"], " ".join(str(index) for index in cell["cites"])]
        yield line


def control(record: dict[str, Any], said: Words) -> list[tuple[str, str]]:
    """What stands above the rows: report, law, period, checkpoint, counts."""
    of, verdict = record["as_of"], record["verdict"]
    organisation = record["scope"].get("organisation") or {}
    pairs = [
        ("Report", said(record["report"]["title"])),
        ("Organisation", organisation.get("value") or "not declared"),
        ("Law", f"{record['report']['law']} (as of {record['report']['law_as_of']})"),
        ("Period", f"{utc(record['period']['from'])} to {utc(record['period']['to'])}"),
        ("Log", f"{of['origin']} at {of['size']} entries, last received {utc(of['last_entry_received'])}"),
        ("Root hash", of["root"]),
        ("Attestation", f"{verdict['attestation']}: signed by the operator's own key"),
        *([("Audience", record["audience"]["title"])] if "audience" in record else []),
        (
            "Counts",
            f"{verdict['rows']} rows, {verdict['exceptions']} exceptions, {verdict['unknowns']} unknowns",
        ),
        ("Cells", ", ".join(f"{count} {basis}" for basis, count in verdict["cells"].items())),
        ("Made by", f"{record['report']['generator']['name']} {record['report']['generator']['version']}"),
    ]
    return [(said(name), inert(str(value))) for name, value in pairs]


def remarks(record: dict[str, Any], which: str) -> Iterator[list[str]]:
    """Exceptions or unknowns: code, text, basis, count, entries."""
    for said in record[which]:
        cites = " ".join(str(index) for index in said["cites"])
        yield [inert(said["code"]), inert(said["text"]), said["basis"], str(said["count"]), cites]


REMARK_HEADER = ["Code", "What", "Basis", "Count", "Entries"]


def plain(blocks: list[Block]) -> str:
    """The blocks of a cell in one text."""
    return "; ".join(part for block in blocks if (part := _plain(block)))


def _plain(block: Block) -> str:
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Items):
        return "; ".join(block.items)
    if isinstance(block, Terms):
        return "; ".join(f"{name}: {value}" for name, value in block.pairs)
    return "; ".join(
        ", ".join(f"{name}: {value}" for name, value in zip(block.headers, row, strict=True) if value != "–")
        for row in block.rows
    )
