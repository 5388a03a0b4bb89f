"""The compiled form: what DAG parsing reads instead of YAML and the ODCS package.

A cache entry is named by the digest of the contract's bytes and the version of the package, so it is
never stale. It spares time and is no authority: a run reads and checks the contract itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from governance import __version__
from governance.durable import replace_file
from governance.errors import ContractError
from governance.model.anonymity import Anonymity, QuasiIdentifier, SensitiveColumn
from governance.model.canonical import canonical, digest, parse
from governance.model.contract import (
    Contract,
    ContractColumn,
    DatasetKind,
    Engine,
    Jurisdiction,
    LoadMode,
    Protection,
    Rule,
    RuleScope,
    SubjectColumn,
)
from governance.model.deidentification import Deidentification

FORMAT: Final = "governance.contract/3"


def compile_to(path: Path | str) -> bytes:
    """A contract as canonical JSON (RFC 8785). Raises what :func:`load_contract` raises."""
    return to_json(_loaded(path))


def to_json(contract: Contract) -> bytes:
    """Canonical JSON (RFC 8785) that :func:`from_json` reads back to an equal contract."""
    return canonical(
        {
            "format": FORMAT,
            "dataset": contract.dataset,
            "version": contract.version,
            "title": contract.title,
            "kind": contract.kind.value,
            "digest": contract.digest,
            "columns": [_column(c) for c in contract.columns],
            "subject": {
                "source_name": contract.subject.source_name,
                "domain": contract.subject.domain,
                "role": contract.subject.role,
                "others": list(contract.subject.others),
                "other_domains": list(contract.subject.other_domains),
            },
            "jurisdiction": {
                "source_name": contract.jurisdiction.source_name,
                "constant": contract.jurisdiction.constant,
            },
            "purposes": list(contract.purposes),
            "covered_entity": contract.covered_entity,
            "special_category": contract.special_category,
            "mode": contract.mode.value,
            "partition_by": list(contract.partition_by),
            "retention_days": contract.retention_days,
            "on_late_withdrawal": contract.on_late_withdrawal,
            "rules": [_rule(r) for r in contract.rules],
            "description": contract.description,
            "anonymity": asdict(contract.anonymity) if contract.anonymity else None,
            "deidentification": asdict(contract.deidentification) if contract.deidentification else None,
            "authors": list(contract.authors),
            "suites": [list(suite) for suite in contract.suites],
            "engine": contract.engine.value,
        }
    )


def _column(column: ContractColumn) -> dict[str, Any]:
    return {
        "name": column.name,
        "source_name": column.source_name,
        "logical_type": column.logical_type,
        "classification": column.classification,
        "protection": {
            "method": column.protection.method,
            "arguments": dict(column.protection.arguments),
        },
        "required": column.required,
        "description": column.description,
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "expectation": rule.expectation,
        "arguments": dict(rule.arguments),
        "scope": rule.scope.value,
    }


def from_json(data: bytes) -> Contract:
    """The contract that :func:`to_json` wrote.

    Raises:
        ContractError: GOV-102 when ``data`` is not a compiled contract of this format.
    """
    try:
        said = parse(data)
        if said.pop("format") != FORMAT:
            raise ValueError
        return _contract(said)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        remedy = "compile the contract again with this version of the package"
        raise ContractError("GOV-102", "this is not a compiled contract", remedy) from None


def _contract(said: dict[str, Any]) -> Contract:
    columns = tuple(
        ContractColumn(**{**c, "protection": Protection(**c["protection"])}) for c in said.pop("columns")
    )
    rules = tuple(Rule(**{**r, "scope": RuleScope(r["scope"])}) for r in said.pop("rules"))
    return Contract(
        **{
            **said,
            "kind": DatasetKind(said["kind"]),
            "columns": columns,
            "subject": SubjectColumn(
                **{
                    **said["subject"],
                    "others": tuple(said["subject"]["others"]),
                    "other_domains": tuple(said["subject"]["other_domains"]),
                }
            ),
            "jurisdiction": Jurisdiction(**said["jurisdiction"]),
            "purposes": tuple(said["purposes"]),
            "mode": LoadMode(said["mode"]),
            "partition_by": tuple(said["partition_by"]),
            "authors": tuple(said["authors"]),
            "suites": tuple((name, pinned) for name, pinned in said["suites"]),
            "engine": Engine(said["engine"]),
            "rules": rules,
            "anonymity": _anonymity(said["anonymity"]) if said["anonymity"] else None,
            "deidentification": Deidentification(**said["deidentification"])
            if said["deidentification"]
            else None,
        }
    )


def _anonymity(said: dict[str, Any]) -> Anonymity:
    quasi = tuple(
        QuasiIdentifier(
            q["column"], q["kind"], tuple(q["steps"]), {k: tuple(v) for k, v in q["tree"].items()}
        )
        for q in said.pop("quasi_identifiers")
    )
    sensitive = tuple(SensitiveColumn(**s) for s in said.pop("sensitive"))
    return Anonymity(quasi_identifiers=quasi, sensitive=sensitive, **said)


def _loaded(path: Path | str) -> Contract:
    # What reads YAML takes longer to load than a DAG file should take to parse.
    from governance.contracts.checking import load_contract

    return load_contract(path)


def load_compiled(path: Path | str, cache_dir: Path | str) -> Contract:
    """A contract from the cache, or compiled and then cached.

    A folder that cannot be written is no fault: the contract is compiled each time.

    Raises:
        ContractError: what :func:`load_contract` raises.
    """
    source, folder = Path(path), Path(cache_dir)
    try:
        found = digest(source.read_bytes())
    except (OSError, ValueError):
        return _loaded(source)  # which says what is wrong with the path
    entry = folder / f"contract-{__version__}-{found.removeprefix('sha256:')}.json"
    try:
        cached = from_json(entry.read_bytes())
        if cached.digest == found:
            return cached
    except (OSError, ContractError):
        pass
    contract = _loaded(source)
    if contract.digest == found:
        with contextlib.suppress(OSError):
            entry.parent.mkdir(parents=True, exist_ok=True)
            replace_file(entry, to_json(contract))
    return contract


def as_mapping(contract: Contract) -> Mapping[str, Any]:
    """The compiled form as plain values, for ``--json`` output."""
    said: Mapping[str, Any] = parse(to_json(contract))
    return said
