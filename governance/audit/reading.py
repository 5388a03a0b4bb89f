"""Reads records back, and says in words what one has and what changed from one to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from governance.audit.blocks import utc
from governance.audit.bundle import RECORD
from governance.audit.checking import container
from governance.audit.comparing import same
from governance.audit.forms.flat import plain
from governance.audit.record import FORMAT, counted
from governance.audit.registry import report_kind
from governance.errors import AuditError
from governance.model.canonical import parse

_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_REMEDY = "name the KIND.json or the KIND.zip that `governance report make` wrote"


def read_record(path: Path) -> dict[str, Any]:
    """The record of a JSON file or of a bundle. It is read, not verified.

    Raises:
        AuditError: GOV-801 when it is neither.
    """
    try:
        data = path.read_bytes() if path.suffix == ".json" else container.read(path).members[RECORD]
        record = parse(data)
        if record["format"] != FORMAT:
            raise ValueError
        report_kind(record["report"]["kind"])
        _ = (
            record["rows"],
            record["exceptions"],
            record["unknowns"],
            record["as_of"]["root"],
            record["columns"],
        )
    except OSError as error:
        raise AuditError("GOV-801", f"{path.name} cannot be read: {error.strerror}", _REMEDY) from None
    except _MALFORMED:
        raise AuditError("GOV-801", f"{path.name} is no record of a report", _REMEDY) from None
    return dict(record)


def told(record: Mapping[str, Any]) -> Iterator[str]:
    """A record in lines: what it is, exceptions, unknowns, rows."""
    of, verdict = record["as_of"], record["verdict"]
    yield f"{record['report']['title']} ({record['report']['law']})"
    yield f"as of {of['origin']} at {of['size']:,} entries, {utc(of['last_entry_received'])}; {verdict['attestation']}"
    for name in ("exceptions", "unknowns"):
        yield f"{name}: {len(record[name])}"
        yield from (f"  {said['code']}: {said['text']}" for said in record[name])
    for number, row in enumerate(record["rows"], start=1):
        yield f"row {number}: {row['title']}"
        for column in record["columns"]:
            if (cell := row["cells"].get(column["key"])) is not None:
                yield f"  {column['heading']} [{cell['basis']}]: {_said(record, column['key'], cell)}"


def changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """What changed from one record to another of its kind, a sentence each; none when nothing did.

    Raises:
        AuditError: GOV-804 when they are of two kinds or of two logs.
    """
    kinds = {record["report"]["kind"] for record in (one, other)}
    if len(kinds) > 1 or one["as_of"]["origin"] != other["as_of"]["origin"]:
        raise AuditError(
            "GOV-804", "the two reports are of different kinds or logs", "compare two of one kind and one log"
        )
    grown = other["as_of"]["size"] - one["as_of"]["size"]
    if grown:
        yield f"The log {'grew' if grown > 0 else 'is shorter'} by {counted(abs(grown), 'entry', 'entries')}."
    before, after = ({row["id"]: row for row in record["rows"]} for record in (one, other))
    headings = {column["key"]: column["heading"] for column in (*one["columns"], *other["columns"])}
    for identity in [i for i in before if i not in after]:
        yield f"Row gone: {before[identity]['title']}."
    for identity in [i for i in after if i not in before]:
        yield f"New row: {after[identity]['title']}."
    for identity in [i for i in after if i in before]:
        old, new = before[identity]["cells"], after[identity]["cells"]
        for key in sorted({*old, *new}, key=list(headings).index):
            if not same(old.get(key), new.get(key)):
                yield f"{after[identity]['title']}, {headings[key]}: {_change(one, other, key, old.get(key), new.get(key))}"
    for name, word in (("exceptions", "exception"), ("unknowns", "unknown")):
        earlier, later = ([(r["code"], r["text"]) for r in record[name]] for record in (one, other))
        yield from (f"New {word}, {code}: {text}" for code, text in later if (code, text) not in earlier)
        yield from (
            f"{word.capitalize()} gone, {code}: {text}" for code, text in earlier if (code, text) not in later
        )


def _change(
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    key: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
) -> str:
    if old is None or new is None:
        return "new." if old is None else "gone."
    said, now = _said(one, key, old), _said(other, key, new)
    parts = []
    if old["basis"] != new["basis"]:
        parts.append(f"was {old['basis']}, is {new['basis']}")
    if said != now:
        parts += _differing(said, now)
    if not parts:
        added, dropped = set(new["cites"]) - set(old["cites"]), set(old["cites"]) - set(new["cites"])
        parts += [f"rests on {counted(len(added), 'more entry', 'more entries')}"] if added else []
        parts += [f"no longer rests on {counted(len(dropped), 'entry', 'entries')}"] if dropped else []
    return ("; ".join(parts) or "is recorded in another way") + "."


def _differing(said: str, now: str) -> list[str]:
    """Of two texts that share parts only those that they do not share."""
    before, after = said.split("; "), now.split("; ")
    gone, new = [p for p in before if p not in after], [p for p in after if p not in before]
    if len(gone) == len(before) or len(new) == len(after) or not (gone or new):
        return [f"said “{said}”, says “{now}”"]
    return [
        f"{how} “{'; '.join(which)}”" for how, which in (("no longer says", gone), ("now says", new)) if which
    ]


def _said(record: Mapping[str, Any], key: str, cell: Mapping[str, Any]) -> str:
    present = report_kind(record["report"]["kind"]).present
    value = "" if cell["value"] is None else plain(present(key, cell["value"]))
    return " ".join(part for part in (value, f"({cell['note']})" if cell.get("note") else "") if part) or "–"
