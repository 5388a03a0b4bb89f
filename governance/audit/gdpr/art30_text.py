"""How the cells of the record of processing read."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from governance.audit.blocks import (
    Block,
    Items,
    Text,
    contact,
    grid,
    number,
    several,
    spoken,
    terms,
    text,
    utc,
)
from governance.audit.plain import time_limit

_CHECKS = {
    "row_counts_reconcile": "Row counts reconcile",
    "no_denied_subject_present": "No denied subject is present",
    "nothing_opens_without_its_key": "Nothing opens without its key",
}

_METHODS = {
    "keep": "kept",
    "constant": "replaced by a constant",
    "mask": "masked",
    "pseudonym": "pseudonymised",
    "token": "tokenised",
    "redact": "redacted",
    "date_to_year": "year only",
    "zip3": "first three digits",
    "age_cap": "capped",
    "truncate": "truncated",
    "bucket": "grouped",
    "ff1": "encrypted in its format",
    "date_shift": "shifted by days",
    "noise": "with noise added",
    "top_code": "capped above",
    "bottom_code": "capped below",
}


def present(key: str, value: Any) -> list[Any]:
    """The blocks of a cell that has a value."""
    found = _PRESENTERS.get(key)
    return text(value) if found is None else found(value)


def _contact(value: Any) -> list[Block]:
    blocks: list[Block] = [Text(contact(value))]
    if value.get("supervisoryAuthority"):
        blocks.append(Text(f"Supervisory authority: {value['supervisoryAuthority']}"))
    return blocks


def _contacts(value: Any) -> list[Block]:
    return [Items(tuple(contact(v) for v in value))] if value else [Text("None declared")]


def _processors(value: Any) -> list[Block]:
    if not value:
        return [Text("None declared")]
    rows = [(contact(p), p.get("service"), p.get("instrument")) for p in value]
    return [grid("Processors", ("Processor", "Service", "Instrument"), rows)]


def _purpose(value: Any) -> list[Block]:
    return [Text(value["description"] or spoken(value["name"])), Text(value["name"], code=True)]


def _basis(value: Any) -> list[Block]:
    article = f" (GDPR {value['article']})" if value["article"] else ""
    return text(f"{spoken(value['basis']).capitalize()}{article}")


def _condition(value: Any) -> list[Block]:
    if value["condition"] is None:
        return text("None needed")
    return text(f"{spoken(value['condition']).capitalize()} (GDPR {value['article']})")


def _names(value: Any) -> list[Block]:
    return [Items(tuple(str(v) for v in value))]


def _data(value: Any) -> list[Block]:
    rows = []
    for group in value:
        special = " (special category)" if group.get("special") else ""
        for position, c in enumerate(group["columns"] or [{}]):
            rows.append(
                (
                    f"{spoken(group['category'])}{special}" if position == 0 else "″",
                    group.get("sensitivity"),
                    _column(c),
                    _treatment(c),
                    _found(c),
                )
            )
    headers = ("Category", "Level", "Column", "Treatment", "Declared and found")
    return [grid("Categories of personal data by column", headers, rows)] if rows else text("None")


def _column(c: dict[str, Any]) -> str | None:
    same = c.get("released_as") in (None, c.get("column")) or c.get("treatment") == "drop"
    return c.get("column") if same else f"{c['column']} → {c['released_as']}"


def _treatment(c: dict[str, Any]) -> str | None:
    method = c.get("treatment")
    if method is None:
        return None
    return "dropped" if method == "drop" else f"{_METHODS.get(method, spoken(method))}, encrypted"


def _found(c: dict[str, Any]) -> str | None:
    if not c:
        return None
    seen = {None: "nothing", "none": "nothing", "unclassified": "nothing nameable"}.get(c.get("found"))
    said, found = spoken(c.get("declared") or "nothing"), seen or spoken(c.get("found"))
    parts = ["agree" if c.get("basis") == "observed" else f"declared {said}, found {found}"]
    if c.get("contains"):
        parts.append("its text holds " + ", ".join(spoken(n) for n in c["contains"]))
    return "; ".join(parts)


def _special(value: Any) -> list[Block]:
    declared = "declared by the contract" if value["declared"] else "not declared by the contract"
    found = ", ".join(spoken(n) for n in value["found"]) or "none"
    return [terms([("Special category data", declared), ("Found", found)])]


def _source(value: Any) -> list[Block]:
    files = f"{value['files']:,} file" + ("" if value["files"] == 1 else "s")
    return [
        Text(f"{value['kind']}, {files}"),
        Text(str(value["uri"]), True),
        Text(str(value["digest"]), True),
    ]


def _recipients(value: Any) -> list[Block]:
    if not value:
        return text("None declared, none observed")
    rows = [
        (
            ", ".join(str(p) for p in (r["title"] or r["name"], r["address"] or r["country"]) if p),
            "yes" if r["declared"] else "no",
            number(r["disclosures"]),
            number(r["rows"]),
        )
        for r in value
    ]
    headers = ("Recipient", "Declared", "Disclosures", "Rows")
    return [grid("Recipients, as declared and as disclosed to", headers, rows, figures=(2, 3))]


def _transfers(value: Any) -> list[Block]:
    if not value:
        return text("None declared, none observed")
    rows = [
        (
            t["recipient"],
            t["country"],
            f"{spoken(t['safeguard'])} ({t['article']})" if t["safeguard"] else "unknown",
            number(t["disclosures"]),
        )
        for t in value
    ]
    headers = ("Recipient", "Country", "Safeguard", "Disclosures")
    return [grid("Transfers outside the EEA", headers, rows, figures=(3,))]


def _retention(value: Any) -> list[Block]:
    return text(time_limit(value))


def _security(value: Any) -> list[Block]:
    masked = value["masking_verified"]
    blocks: list[Block] = [
        terms(
            [
                ("Version", value["version"]),
                (
                    "Encrypted",
                    f"{number(value['columns_encrypted'])} of {several(value['columns_released'], 'released column')}"
                    f", under {several(value['keys'], 'key')}",
                ),
                ("Dropped", several(value["columns_dropped"], "column")),
                ("Masking verified on the output", ", ".join(masked) if masked else "no column"),
                (
                    "Consent checked again at release",
                    f"at ledger position {value['consent_checked_at_release']}"
                    if value.get("consent_checked_at_release") is not None
                    else None,
                ),
            ]
        )
    ]
    if value["checks"]:
        rows = [
            (_CHECKS.get(c["check"], spoken(c["check"])), "held" if c["success"] else "failed", c["detail"])
            for c in value["checks"]
        ]
        blocks.append(grid("Checks of the version read back", ("Check", "Outcome", "Detail"), rows))
    return blocks


def _consent(value: Any) -> list[Block]:
    rows = sorted(value["by_reason"].items(), key=lambda pair: (pair[0] != "allowed", pair[0]))
    subjects = value["subjects"]
    return [
        Text(
            f"{number(value['allowed'])} of {number(value['rows'])} rows allowed, {number(value['denied'])} "
            f"denied; {number(subjects.get('distinct'))} subjects; ledger position "
            f"{number(value['ledger_position'])}, as of {utc(value['instant'])}"
        ),
        grid("Rows by reason", ("Reason", "Rows"), [(spoken(k), number(n)) for k, n in rows], figures=(1,)),
    ]


def _assessment(value: Any) -> list[Block]:
    return text(", ".join(str(value[k]) for k in ("reference", "decided", "decision") if value.get(k)))


def _interests(value: Any) -> list[Block]:
    return text("Not applicable" if value is None else value)


def _versions(value: Any) -> list[Block]:
    if not value:
        return text("None")
    rows = [(v["version"], utc(v["released_at"]), number(v["rows"]), v["manifest_digest"]) for v in value]
    headers = ("Version", "Released", "Rows", "Manifest digest")
    return [grid("Released versions", headers, rows, figures=(2,))]


def _runs(value: Any) -> list[Block]:
    return text(
        f"{number(value['opened'])} opened: {number(value['released'])} released, "
        f"{number(value['quarantined'])} quarantined, {number(value['abandoned'])} abandoned, "
        f"{number(value['intended'])} intended and not "
        f"confirmed, {number(value['unfinished'])} without an end"
    )


_PRESENTERS: MappingProxyType[str, Callable[[Any], list[Block]]] = MappingProxyType(
    {
        "controller": _contact,
        "joint_controllers": _contacts,
        "representative": _contact,
        "dpo": _contact,
        "processors": _processors,
        "purpose": _purpose,
        "lawful_basis": _basis,
        "special_condition": _condition,
        "subject_categories": _names,
        "data_categories": _data,
        "special_categories": _special,
        "source": _source,
        "recipients": _recipients,
        "transfers": _transfers,
        "retention": _retention,
        "security_declared": _names,
        "security_observed": _security,
        "location": _names,
        "consent": _consent,
        "impact_assessment": _assessment,
        "interests_assessment": _interests,
        "versions": _versions,
        "runs": _runs,
    }
)
