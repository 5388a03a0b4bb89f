"""Computes the record of a bundle again from its entries, and renders it again: both must come out the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import governance
from governance.audit.audience import WHOLE, shown_to
from governance.audit.bundle import ENTRIES, HTML, RECORD, BundledEntry
from governance.audit.checking.container import Failed
from governance.audit.citations import check_citations, stated_audience
from governance.audit.comparing import first_difference, resting_on
from governance.audit.record import ReportKind, make_record, read_asked
from governance.audit.registry import REPORTS
from governance.audit.trail import read_trail
from governance.errors import GovernanceError
from governance.log.note import Checkpoint

MALFORMED = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, OverflowError)
"""What reading a file that somebody altered may raise."""


class Recomputation:
    """One record and its page. ``rows`` and ``lines`` grow as it gets on.

    ``same_version``: the record says it was made by the version that checks it.
    """

    def __init__(self, record: dict[str, Any], page: bytes) -> None:
        self.rows = 0
        self.lines: list[str] = []
        self.same_version = True
        self.audience = WHOLE
        self._record = record
        self._page = page

    def run(self, entries: Mapping[int, BundledEntry], checkpoint: Checkpoint) -> None:
        """Raises :class:`Failed` at the first cell, member or page that comes out otherwise.

        What needs a body that is withheld from the audience is not computed; then what is cited is checked.
        """
        self.audience = stated_audience(self._record)
        if self.withheld:
            self._narrowed(entries, checkpoint)
            self._html()
            return
        made = shown_to(self._again(entries, checkpoint), self.audience)
        said = self._record
        version, ours = (_generator(record).pop("version", None) for record in (said, made))
        # What only the whole log can tell is set aside; the verdict says so.
        whole = said.get("population", {}).pop("whole_log", None)
        made["population"].pop("whole_log")
        difference = first_difference(said, made)
        if difference is not None:
            self.rows = difference.rows_before
            raise Failed(RECORD, difference.text)
        if not isinstance(whole, dict):
            raise Failed(RECORD, "population.whole_log is missing")
        self.rows = len(made["rows"])
        said["population"]["whole_log"] = whole
        said["report"]["generator"]["version"] = version
        bases = made["verdict"]["cells"]
        self.lines.append(
            f"{len(made['rows']):,} rows were computed again from the entries and are the same: "
            f"{bases['observed']:,} cells rest on signed evidence, {bases['declared']:,} on declarations, "
            f"{bases['conflicting']:,} conflict, {bases['unknown']:,} are unknown."
        )
        self.lines.append(
            f"Exceptions: {len(made['exceptions']):,}, unknowns: {len(made['unknowns']):,}; computed again too."
        )
        if version != ours:
            self.lines.append(
                f"Made by airflow-governance {version}, checked by {ours}. The rows agree all the same."
            )
        self.same_version = version == ours
        self._html()

    def _narrowed(self, entries: Mapping[int, BundledEntry], checkpoint: Checkpoint) -> None:
        self._kind()
        try:
            unseen = check_citations(self._record, entries, checkpoint)
            self.rows = len(self._record["rows"])
            of = int(self._record["audience"]["bodies"])
        except MALFORMED:
            raise Failed(RECORD, "is not of the form records have") from None
        rest = (
            "They were computed again from the bodies that are here and are the same."
            if self._needs_none_withheld(entries, checkpoint)
            else "They were not computed again: what they say rests on the operator's signature. The bundle for the "
            "organisation itself computes them."
        )
        self.lines.append(
            f"{self.rows:,} rows: every entry they cite is here and under the checkpoint. {rest}"
        )
        columns = ", ".join(f"{key} ({count:,})" for key, count in sorted(unseen.items()))
        self.lines.append(
            f"Body withheld for this audience: {unseen.total():,} cells{': ' if columns else ''}{columns}; "
            f"{self.withheld:,} of {of:,} bodies."
        )

    def _needs_none_withheld(self, entries: Mapping[int, BundledEntry], checkpoint: Checkpoint) -> bool:
        """Whether the record comes out the same with an empty body in place of each that is withheld."""
        if not self.audience.senders:
            return False
        hidden = {e["index"] for e in self._record["entries"] if e["body"] == "withheld"}
        filled = {i: replace(e, body=b"{}", salt=b"") if i in hidden else e for i, e in entries.items()}
        try:
            made = shown_to(self._again(filled, checkpoint), self.audience)
        except Failed:
            return False
        said = dict(self._record)
        for record in (said, made):
            record["report"] = {**record["report"], "generator": None}
            record["population"] = {**record["population"], "whole_log": None}
        return first_difference(said, made) is None

    @property
    def withheld(self) -> int:
        """How many bodies the audience is not given."""
        return 0 if self.audience is WHOLE else int(self._record["audience"]["withheld"])

    def _kind(self) -> ReportKind:
        try:
            report = self._record["report"]
            kind, template = REPORTS.get(report["kind"]), report["template_version"]
            self.same_version = report["generator"]["version"] == governance.__version__
        except MALFORMED:
            raise Failed(RECORD, "is not of the form records have") from None
        if kind is None or kind.template_version != template:
            raise Failed(
                RECORD,
                "is of a kind or template version that this verifier does not know, so it proves nothing",
            )
        return kind

    def _again(self, entries: Mapping[int, BundledEntry], checkpoint: Checkpoint) -> dict[str, Any]:
        kind = self._kind()
        try:
            period = self._record["period"]
            asked = (str(period["from"]), str(period["to"])) if period["asked"] is True else None
        except MALFORMED:
            raise Failed(RECORD, "is not of the form records have") from None
        if asked is not None and not kind.takes_period:
            raise Failed(RECORD, "period: this kind takes none")
        try:
            chosen = read_asked(kind, self._record.get("asked"))
            trail = read_trail((entries[i] for i in sorted(entries)), checkpoint.size)
            return make_record(kind, trail, checkpoint, entries.__getitem__, asked, chosen)
        except KeyError as missing:
            where = resting_on(self._record, missing.args[0] if missing.args else -1)
            raise Failed(f"{ENTRIES}{missing}.json", f"is missing{where}") from None
        except (*MALFORMED, GovernanceError) as fault:
            raise Failed(RECORD, f"cannot be computed from the entries ({type(fault).__name__})") from None

    def _html(self) -> None:
        try:
            from governance.audit.rendering import render

            page = render(self._record).encode()
        except GovernanceError:
            self.lines.append(
                "report.html was not rendered again, because the reports extra is not installed; that it shows "
                "what record.json says rests on the operator's signature."
            )
            return
        except MALFORMED:
            raise Failed(HTML, "cannot be rendered again from record.json") from None
        if page == self._page:
            self.lines.append("report.html shows what record.json says: rendered again, it is the same.")
        elif self.same_version:
            raise Failed(HTML, "does not show what record.json says")
        else:
            self.lines.append(
                "report.html was rendered by another version; that it shows what record.json says rests on the "
                "operator's signature."
            )


def _generator(record: dict[str, Any]) -> dict[str, Any]:
    generator = record.get("report", {}).get("generator") if isinstance(record.get("report"), dict) else None
    return generator if isinstance(generator, dict) else {}
