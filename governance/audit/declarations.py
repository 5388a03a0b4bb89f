"""What people declared: the policy and contract leaves that runs pinned, never today's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_MAX_BYTES = 1 << 20


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """YAML 1.2's core schema for scalars: a date stays text, ``NO`` is Norway."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"|~|null|Null|NULL", ["", "~", "n", "N"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def read_yaml(body: bytes) -> dict[str, Any] | None:
    """The mapping a leaf holds; ``None`` when it is not one that contracts accept."""
    if len(body) > _MAX_BYTES:
        return None
    try:
        text = body.decode("utf-8-sig")
        # An alias is how a small leaf becomes a large record.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            return None
        root = yaml.load(text, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    return root if isinstance(root, dict) else None


def part(value: Any, *names: str) -> dict[str, Any]:
    """The mapping found by following ``names``; empty where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return dict(value) if isinstance(value, Mapping) else {}


def items(value: Any, name: str) -> list[Any]:
    """The list under ``name``; empty where there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return list(found) if isinstance(found, list) else []


def words(value: Any, name: str) -> str | None:
    """The text under ``name``, if it is one that is not empty."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) and found else None


@dataclass(frozen=True, slots=True)
class PolicyLeaf:
    """A policy as a leaf of the log says it. ``index`` is where."""

    index: int
    root: Mapping[str, Any]

    @property
    def organisation(self) -> dict[str, Any]:
        return part(self.root, "organisation")

    def controller(self, domain: str | None) -> dict[str, Any] | None:
        """Who answers for a subject domain."""
        for controller in items(self.organisation, "controllers"):
            if domain is not None and domain in items(controller, "domains"):
                return part(controller)
        return None

    def purpose(self, name: str) -> dict[str, Any] | None:
        return part(self.root, "purposes", name) or None

    def recipients(self) -> dict[str, dict[str, Any]]:
        return {name: part(said) for name, said in part(self.root, "recipients").items()}

    def assessment(self, purpose: str) -> dict[str, Any] | None:
        """The data protection impact assessment of a purpose."""
        for said in items(self.organisation, "dataProtectionImpactAssessments"):
            if part(said).get("purpose") == purpose:
                return part(said)
        return None

    def is_special(self, classification: str) -> bool:
        """Whether a classification is a special category (GDPR Art. 9(1))."""
        return part(self.root, "classifications", classification).get("specialCategory") is True


@dataclass(frozen=True, slots=True)
class ContractLeaf:
    """A dataset contract as a leaf of the log says it."""

    index: int
    root: Mapping[str, Any]

    @property
    def governance(self) -> dict[str, Any]:
        """The ``governance`` custom property."""
        for entry in items(self.root, "customProperties"):
            if part(entry).get("property") == "governance":
                return part(entry, "value")
        return {}

    @property
    def subject_domain(self) -> str | None:
        return words(part(self.governance, "subject"), "domain")

    @property
    def special_category(self) -> bool:
        return self.governance.get("specialCategory") is True

    @property
    def covered_entity(self) -> bool:
        return self.governance.get("coveredEntity") is True

    def retention(self) -> dict[str, Any] | None:
        """The ODCS service level ``retention``: value, unit and driver."""
        for entry in items(self.root, "slaProperties"):
            said = part(entry)
            if said.get("property") == "retention" and said.get("value") is not None:
                return {k: said[k] for k in ("value", "unit", "driver") if said.get(k) is not None}
        return None
