"""Renders a record to HTML: one self-contained page, a pure function of the record."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.audit.blocks import number, spoken, utc
from governance.audit.gdpr.dpia_picture import picture
from governance.audit.registry import report_kind
from governance.errors import SettingError
from governance.model.canonical import canonical_parsed, parse

if TYPE_CHECKING:
    from jinja2 import Template

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(record: dict[str, Any]) -> str:
    """The page.

    Raises:
        SettingError: GOV-902 when Jinja is not installed.
    """
    # The page must not depend on the order of members, which the canonical form does not keep.
    record = parse(canonical_parsed(record))
    kind = record["report"]["kind"]
    withheld = {entry["index"] for entry in record["entries"] if entry["body"] == "withheld"}
    hashes = {entry["index"]: entry["leaf_hash"] for entry in record["entries"]}
    present = report_kind(kind).present
    return template(kind).render(
        record=record,
        hashes=hashes,
        hidden=lambda cites: not withheld.isdisjoint(cites),
        blocks=lambda key, cell: [] if _empty(key, cell) else present(key, cell["value"]),
    )


def _empty(key: str, cell: dict[str, Any]) -> bool:
    return cell["value"] is None and not (key == "interests_assessment" and cell["basis"] == "declared")


@cache
def template(kind: str) -> Template:
    """The template of a kind.

    Raises:
        SettingError: GOV-902 when Jinja is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise SettingError(
            "GOV-902",
            "reports are rendered with Jinja, which is not installed",
            "pip install 'airflow-governance[reports]'",
        ) from None
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "picture": picture, "spoken": spoken, "utc": utc}
    return environment.get_template(f"{kind}.html.j2")
