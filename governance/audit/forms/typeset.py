"""PDF/A-3a by typst, with the record and its checkpoint attached, and the bundle where one was made.

The fonts are those within typst; the system's are not looked at, no package is fetched, and the time in the file
is the log's. So the same record is the same bytes under one version of typst.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from governance.audit.blocks import utc
from governance.audit.cells import Basis
from governance.audit.languages import Words
from governance.audit.registry import report_kind
from governance.errors import SettingError
from governance.model.canonical import canonical, parse

_ANY = re.compile(r"[^\x20-\U0010ffff]|[\ud800-\udfff]")
_EUROPEAN = re.compile(
    r"[^\x20-\x7e\xa0-\u024f\u0370-\u03ff\u0400-\u045f\u2010-\u2027\u2030-\u203a\u2192\u2033]"
)
_ASCII = re.compile(r"[^\x20-\x7e\xa1-\xff\u2013\u2014\u2018-\u201d\u2026\u2033\u2192]")
"""What is drawn as its code point. The fonts within typst have Latin, Greek and Cyrillic."""

_TEMPLATE = Path(__file__).resolve().parents[1] / "templates" / "report.typ"


def render(record: dict[str, Any], said: Words, bundle: bytes | None) -> bytes:
    """The document.

    Args:
        said: the language of titles, headings and column names; what the log says is not translated.
        bundle: attached as ``bundle.zip``.

    Raises:
        SettingError: GOV-902 when typst is not installed.
    """
    try:
        import typst
    except ImportError:
        raise SettingError(
            "GOV-902",
            "PDF is set with typst, which is not installed",
            "pip install 'airflow-governance[reports]'",
        ) from None
    record = parse(canonical(record))
    attached = {
        "record.json": (canonical(record), "source", "application/json", "The report, RFC 8785 canonical JSON"),
        "checkpoint.txt": (
            record["as_of"]["checkpoint"].encode(), "supplement", "text/plain", "The signed checkpoint of the log",
        ),
    }  # fmt: skip
    if bundle is not None:
        attached["bundle.zip"] = (bundle, "supplement", "application/zip", "Entries, proofs and a verifier")
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        root = Path(folder)
        (root / "report.typ").write_bytes(_TEMPLATE.read_bytes())
        for name, (data, *_) in attached.items():
            (root / name).write_bytes(data)
        model = _model(record, said) | {
            "attached": [
                {"name": name, "relation": relation, "type": kind, "description": about}
                for name, (_, relation, kind, about) in attached.items()
            ]
        }
        made = None
        for drawable in (_ANY, _EUROPEAN, _ASCII):
            text = drawable.sub(
                lambda found: f"\u2039U+{ord(found[0]):04X}\u203a", json.dumps(model, ensure_ascii=False)
            )
            (root / "model.json").write_text(text, "utf-8")
            try:
                made = typst.compile(
                    root / "report.typ",
                    root=root,
                    ignore_system_fonts=True,
                    format="pdf",
                    pdf_standards="a-3a",
                    timestamp=_last(record),
                )
                break
            except typst.TypstError as error:
                # PDF/A forbids a character without a glyph; nobody's name may stop a report.
                if "could not be displayed" not in str(error) or drawable is _ASCII:
                    raise
    return bytes(made) if isinstance(made, bytes) else b""


def _model(record: Mapping[str, Any], said: Words) -> dict[str, Any]:
    of, report, verdict = record["as_of"], record["report"], record["verdict"]
    organisation = (record["scope"].get("organisation") or {}).get("value") or said(
        "Organisation not declared"
    )
    last = _last(record)
    generator = report["generator"]
    return {
        "title": said(report["title"]),
        "organisation": organisation,
        "law": report["law"],
        "kind": report["kind"],
        "lang": said.language,
        "date": [last.year, last.month, last.day],
        "origin": of["origin"],
        "size": f"{of['size']:,}",
        "root": of["root"],
        "control": [
            [said("Scope"), str(record["scope"].get("contains") or ""), False],
            [said("Period"), f"{utc(record['period']['from'])} – {utc(record['period']['to'])}", False],
            [said("As of"), f"{of['origin']}, {of['size']:,}; {utc(of['last_entry_received'])}", False],
            [said("Root hash"), of["root"], True],
            [said("Attestation"), said(verdict["attestation"]), False],
            *([[said("Audience"), record["audience"]["title"], False]] if "audience" in record else []),
            [said("Made by"), f"{generator['name']} {generator['version']}, {report['law_as_of']}", False],
        ],
        "tiles": [[said(name), f"{verdict[name.lower()]:,}"] for name in ("Rows", "Exceptions", "Unknowns")],
        "bases": [
            [basis.value, f"{verdict['cells'][basis.value]:,}", said(f"meaning of {basis.value}")]
            for basis in Basis
        ],
        "exceptions": record["exceptions"],
        "unknowns": record["unknowns"],
        "rows": _rows(record, said),
        "statements": [said(statement) for statement in record["statements"]],
        "entries": [
            {
                "index": str(entry["index"]),
                "received": utc(entry["received_at"]),
                "media_type": entry["media_type"],
                "principal": entry["principal"],
                "leaf_hash": entry["leaf_hash"],
                "redacted": entry["body"] == "redacted",
            }
            for entry in record["entries"]
        ],
        "words": {key: said(text) for key, text in _WORDS.items()},
    }


def _rows(record: Mapping[str, Any], said: Words) -> list[dict[str, Any]]:
    present = report_kind(record["report"]["kind"]).present
    return [
        {
            "title": row["title"],
            "cells": [
                {
                    "heading": said(column["heading"]),
                    "law": column["law"],
                    "basis": cell["basis"],
                    "cites": cell["cites"],
                    "note": cell.get("note") or "",
                    "blocks": []
                    if cell["value"] is None
                    else [_drawn(block, said) for block in present(column["key"], cell["value"])],
                }
                for column in record["columns"]
                if (cell := row["cells"].get(column["key"])) is not None
            ],
        }
        for row in record["rows"]
    ]


def _drawn(block: Any, said: Words) -> dict[str, Any]:
    names = ("kind", "text", "code", "items", "pairs", "headers", "rows", "figures")
    made = {name: getattr(block, name) for name in names if hasattr(block, name)}
    # Ours are the names of values; what stands for the value only where it is one of these words.
    if "headers" in made:
        # A column of a table in a report is not one of the data.
        made["headers"] = [said.messages.get(f"{h} of the data", said(h)) for h in made["headers"]]
        made["rows"] = [[_ours(text, said) for text in row] for row in made["rows"]]
    if "pairs" in made:
        made["pairs"] = [(said(name), _ours(text, said)) for name, text in made["pairs"]]
    if made.get("text") in _OURS:
        made["text"] = said(made["text"])
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in made.items()}


def _ours(text: str, said: Words) -> str:
    return said(text) if text in _OURS else text


def _last(record: Mapping[str, Any]) -> datetime:
    said = record["as_of"]["last_entry_received"]
    # A PDF's dates have whole seconds; typst refuses others.
    return datetime.fromisoformat(said).replace(microsecond=0) if said else datetime(1980, 1, 1, tzinfo=UTC)


_OURS = frozenset({"None", "none", "yes", "no", "held", "failed"})

_WORDS = {
    "log": "Log",
    "size": "at size",
    "entries": "entries",
    "cites": "Entries",
    "entry": "Entry",
    "observed": "observed",
    "declared": "declared",
    "conflicting": "conflicting",
    "unknown": "unknown",
    "what": "What",
    "basis": "Basis",
    "count": "Count",
    "exceptions": "Exceptions",
    "unknowns": "Unknowns",
    "no_exceptions": "Nothing departs from what was declared or expected.",
    "no_unknowns": "No cell is unknown and nothing is left open.",
    "rows": "Rows",
    "column": "Column",
    "value": "Value",
    "cannot": "What this report cannot prove",
    "log_entries": "Log entries this report rests on",
    "received": "Received",
    "kind": "Kind and sender",
    "leaf_hash": "Leaf hash",
    "redacted": "redacted",
}
