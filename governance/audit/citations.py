"""Checks a record whose bodies are withheld from its audience: what it cites is here, and it shows what that audience may see.

Such a record cannot be computed again. What is left to check is that every cell, exception and unknown rests on an
entry that is proved, that the counts fit, and that neither more nor less is withheld than the audience's rule says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from governance.audit.audience import AUDIENCES, WHOLE, Audience, shown_to
from governance.audit.bundle import ENTRIES, RECORD, BundledEntry
from governance.audit.cells import Basis
from governance.audit.checking.container import Failed
from governance.audit.comparing import resting_on, same
from governance.log.envelope import Envelope
from governance.log.note import Checkpoint


def stated_audience(record: Mapping[str, Any]) -> Audience:
    """The audience that a record states; the organisation itself where it states none.

    Raises:
        Failed: it is none, or the record withholds something else than that audience's rule says.
    """
    if "audience" not in record:
        return WHOLE
    try:
        audience = AUDIENCES[record["audience"]["name"]]
        if same(shown_to(before(record), audience), record):
            return audience
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):
        pass
    raise Failed(RECORD, "audience: is not what the rule of an audience gives")


def before(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it was before it was narrowed; senders that were taken out stay out."""
    entries = [{**e, "body": "present" if e["body"] == "withheld" else e["body"]} for e in record["entries"]]
    whole = {name: value for name, value in record.items() if name != "audience"}
    return {**whole, "entries": entries, "statements": record["statements"][:-1]}


def check_citations(
    record: Mapping[str, Any], entries: Mapping[int, BundledEntry], checkpoint: Checkpoint
) -> Counter[str]:
    """Cells that rest on an entry whose body is withheld, by column.

    Raises:
        Failed: at the first thing that does not. KeyError, TypeError and their like: the record is malformed.
    """
    of = record["as_of"]
    said = (of["origin"], of["size"], of["root"], of["checkpoint"])
    if said != (checkpoint.origin, checkpoint.size, checkpoint.root.hex(), checkpoint.note):
        raise Failed(RECORD, "as_of is not the bundle's checkpoint")
    described = {entry["index"]: entry for entry in record["entries"]}
    if len(described) != len(record["entries"]) or set(described) != set(entries):
        raise Failed(RECORD, "entries: lists others than the bundle has")
    for index, entry in entries.items():
        if not _is_described(entry, described[index]):
            raise Failed(
                f"{ENTRIES}{index}.json", f"is not as the record describes it{resting_on(record, index)}"
            )
    withheld = {index for index, entry in described.items() if entry["body"] == "withheld"}
    bases, unseen = Counter[str](), Counter[str]()
    for number, row in enumerate(record["rows"], start=1):
        for key, cell in row["cells"].items():
            where = f"row {number} ({row['title']}), {key}"
            _cites(cell["cites"], entries, where)
            if not cell["cites"] and cell["basis"] in (Basis.OBSERVED, Basis.CONFLICTING):
                raise Failed(RECORD, f"{where}: is {cell['basis']} and cites no entry")
            bases[cell["basis"]] += 1
            unseen[key] += not withheld.isdisjoint(cell["cites"])
    verdict = record["verdict"]
    counts = {"rows": len(record["rows"]), "cells": {basis.value: bases[basis.value] for basis in Basis}}
    for member in ("exceptions", "unknowns"):
        counts[member] = len(record[member])
        for number, item in enumerate(record[member], start=1):
            _cites(item["cites"], entries, f"{member[:-1]} {number} ({item['code']})")
    if not all(same(verdict[name], value) for name, value in counts.items()):
        raise Failed(RECORD, "verdict: counts other rows, cells, exceptions or unknowns than there are")
    return +unseen


def _is_described(entry: BundledEntry, said: Mapping[str, Any]) -> bool:
    if said["leaf_hash"] != entry.leaf_hash.hex() or (said["body"] == "present") != (entry.body is not None):
        return False
    if not entry.leaf:
        return True
    envelope = Envelope.from_leaf(entry.leaf)
    return (
        said["media_type"] == envelope.media_type
        and said["received_at"] == envelope.received_at
        and said["principal"] in (envelope.principal, envelope.principal.partition(":")[0])
    )


def _cites(cites: list[int], entries: Mapping[int, BundledEntry], where: str) -> None:
    for index in cites:
        if index not in entries:
            raise Failed(RECORD, f"{where} cites entry {index}, which the bundle does not have")
