"""A contract against the policy, before anything is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from governance.contracts.compiling import INVALID, Place, raise_faults, read_contract
from governance.contracts.faults import Fault, Mark, did_you_mean, listed
from governance.contracts.suites import Suites
from governance.errors import ContractFindings
from governance.model.classification import HARMLESS, UNCLASSIFIED
from governance.model.contract import Contract, ContractColumn, Engine
from governance.model.policy import ClassificationRule, Policy

PURPOSE: Final = "GOV-104"
WEAK: Final = "GOV-108"
COLUMNS: Final = "GOV-103"


@dataclass(frozen=True, slots=True)
class _Breach:
    """What the policy does not allow, and the part of the contract that says it."""

    about: Place
    message: str
    code: str


def load_contract(
    path: Path | str,
    policy: Policy | None = None,
    data: bytes | None = None,
    suites: Suites | None = None,
    validated: str | None = None,
) -> Contract:
    """Read, validate and compile a contract and, with a policy, check it against it.

    Args:
        path: the file, or the name that messages give to ``data``.
        policy: what it must obey.
        data: the bytes, where they lie in a storage instead of a local file.
        suites: reads the suites that the contract names; by default beside the local file. With ``data`` and
            without it, rules of suites are left out.
        validated: the digest of bytes that were found to fit the standard before, as a run pins it; they are not
            held against its schemas again.

    Returns:
        the contract; its digest is that of the file's bytes.

    Raises:
        ContractError: every fault at once, each as ``file:line:column: what is wrong; what to write``,
            in file order. The code is GOV-101 (not YAML), or the one that all faults share (GOV-104
            purpose, GOV-105 subject column, GOV-108 protection, GOV-109 column name), else GOV-102.
    """
    draft = read_contract(Path(path), policy, data, suites, validated)
    nowhere = Mark(1, 1)
    breaches = list(_breaches(draft.contract, policy)) if policy is not None else []
    raise_faults(draft, [Fault(_at(draft.places, b.about) or nowhere, b.message, b.code) for b in breaches])
    return draft.contract


def check(contract: Contract, policy: Policy) -> None:
    """Check a compiled contract. :func:`load_contract` with a policy says the same with line numbers.

    Raises:
        ContractFindings: GOV-104, GOV-108 or, of several kinds, GOV-102.
    """
    breaches = list(_breaches(contract, policy))
    if not breaches:
        return
    codes = {breach.code for breach in breaches}
    shared = codes.pop() if len(codes) == 1 else INVALID
    faults = [b.message if b.code == shared else f"{b.message} [{b.code}]" for b in breaches]
    remedy = "correct the contract as proposed, or have the policy changed by those who sign it"
    raise ContractFindings(shared, f"contract {contract.dataset} {contract.version}", faults, remedy)


def columns_match(contract: Contract, source_fields: Sequence[str]) -> None:
    """Require that contract and source name the same columns.

    Raises:
        ContractFindings: GOV-103 naming every column that only one of them has.
    """
    named = [column.source_name for column in contract.columns]
    absent = [name for name in named if name not in set(source_fields)]
    unnamed = [name for name in source_fields if name not in set(named)]
    if not absent and not unnamed:
        return
    faults = [
        f"column `{name}` is in the contract and not in the source; "
        + (did_you_mean(name, unnamed) if unnamed else "remove it from the contract")
        for name in absent
    ]
    faults += [
        f"column `{name}` is in the source and not in the contract; "
        f"write `- {{name: {name}, logicalType: …, classification: …}}`, dropped if it is not needed"
        for name in unnamed
    ]
    remedy = "make the contract name exactly the source's columns, by `physicalName` where they are renamed"
    raise ContractFindings(COLUMNS, f"contract {contract.dataset} {contract.version}", faults, remedy)


def _at(places: Mapping[Place, Mark], about: Place) -> Mark | None:
    kind, name = about
    return places.get(about) or places.get(("column", name)) or places.get((kind, ""))


def _breaches(contract: Contract, policy: Policy) -> Iterator[_Breach]:
    yield from _purposes(contract, policy)
    yield from _where(contract, policy)
    for column in contract.columns:
        yield from _column(column, contract, policy)
    yield from _partitions(contract, policy)
    yield from _deidentified(contract, policy)
    if contract.columns and all(c.protection.method == "drop" for c in contract.columns):
        yield _Breach(("subject", ""), "every column is dropped; keep at least one", INVALID)


def _purposes(contract: Contract, policy: Policy) -> Iterator[_Breach]:
    regimes = policy.jurisdictions.get(contract.jurisdiction.constant or "", ())
    for name in contract.purposes:
        purpose = policy.purposes.get(name)
        about: Place = ("purpose", name)
        if purpose is None:
            near = did_you_mean(name, list(policy.purposes))
            yield _Breach(about, f"purpose `{name}` is not in the policy; {near}", PURPOSE)
            continue
        if contract.covered_entity and purpose.hipaa_ground is None:
            say = (
                f"purpose `{name}` has no ground under HIPAA, which `coveredEntity: true` applies; "
                "write another purpose, or give it `hipaa:` in the policy"
            )
            yield _Breach(about, say, PURPOSE)
        if "GDPR" in regimes and purpose.gdpr_basis is None:
            say = f"purpose `{name}` has no lawful basis in the GDPR; write another, or `gdpr:` in the policy"
            yield _Breach(about, say, PURPOSE)
        elif "GDPR" in regimes and contract.special_category and purpose.gdpr_condition is None:
            say = (
                f"purpose `{name}` has no Art. 9(2) condition, and the dataset holds special categories; "
                "write another purpose, or `condition:` in the policy"
            )
            yield _Breach(about, say, PURPOSE)


def _where(contract: Contract, policy: Policy) -> Iterator[_Breach]:
    code = contract.jurisdiction.constant
    if code is not None and code not in policy.jurisdictions:
        near = did_you_mean(code, list(policy.jurisdictions))
        yield _Breach(("jurisdiction", ""), f"jurisdiction `{code}` is not in the policy; {near}", INVALID)
    domains = [d for c in policy.organisation.get("controllers", ()) for d in c.get("domains", ())]
    for domain in contract.subject.every_domain:
        if domain and domains and domain not in domains:
            say = f"no controller of the policy answers for the domain `{domain}`; {did_you_mean(domain, domains)}"
            yield _Breach(("domain", domain), say, INVALID)


def _deidentified(contract: Contract, policy: Policy) -> Iterator[_Breach]:
    named = contract.deidentification.determination if contract.deidentification else None
    if named is None:
        return
    found = policy.determinations.get(named)
    if found is None:
        say = f"determination `{named}` is not in the policy; {did_you_mean(named, list(policy.determinations))}"
        yield _Breach(("deidentification", ""), say, INVALID)
    elif contract.dataset not in found.datasets:
        say = f"determination `{named}` is about {listed(found.datasets)}; have an expert determine this dataset"
        yield _Breach(("deidentification", ""), say, INVALID)


def _column(column: ContractColumn, contract: Contract, policy: Policy) -> Iterator[_Breach]:
    method, name = column.protection.method, column.source_name
    about: Place = ("protection", name)
    is_subject = name in contract.subject.columns
    subject_is_known = contract.column(contract.subject.source_name) is not None
    if name in contract.subject.others and method != "pseudonym":
        say = f"column `{name}` is one of `others`: its people have to be found again; write protection `pseudonym`"
        yield _Breach(about, say, INVALID)
        return
    if is_subject and method == "drop":
        say = (
            "the subject column is dropped, and no erasure could find its rows; write protection `pseudonym`"
        )
        yield _Breach(about, say, INVALID)
        return
    if method == "pseudonym" and subject_is_known and not is_subject:
        say = (
            f"column `{name}` is not the subject, and only subjects have pseudonyms; write `drop` or `token`"
        )
        yield _Breach(about, say, INVALID)
        return
    if method in ("token", "ff1") and column.protection.arguments.get("erasable") is not False:
        say = (
            f"a keyed token of `{name}` outlives the erasure of its subject; "
            "say so in its `arguments`: write `erasable: false`"
        )
        yield _Breach(about, say, INVALID)
    if column.name in contract.reversible and contract.engine is Engine.SPARK:
        say = (
            f"tokens of `{name}` are sealed under the vault's secrets, which never leave for Spark; "
            "write `engine: local`, or leave out `reversible`"
        )
        yield _Breach(about, say, INVALID)
    if column.classification in (None, HARMLESS):
        return
    rule = policy.classifications.get(column.classification)
    if rule is None:
        yield _unknown(column, policy)
        return
    if method not in rule.protections:
        yield _Breach(about, _weak(column, rule, is_subject), WEAK)
    if rule.special_category and method != "drop" and not contract.special_category:
        say = (
            f"column `{name}` holds a special category (`{rule.name}`, GDPR Art. 9); "
            "write `specialCategory: true` under `governance`, or drop it"
        )
        yield _Breach(("classification", name), say, INVALID)


def _unknown(column: ContractColumn, policy: Policy) -> _Breach:
    said = column.classification or ""
    if said == UNCLASSIFIED:
        say = f"column `{column.source_name}` is declared `unclassified`; write what it holds, or `none`"
    else:
        near = did_you_mean(said, [*policy.classifications])
        say = f"classification `{said}` is not in the policy; {near}"
    return _Breach(("classification", column.source_name), say, INVALID)


def _weak(column: ContractColumn, rule: ClassificationRule, is_subject: bool) -> str:
    method = column.protection.method
    enough = [
        m for m in rule.protections if (m == "pseudonym") <= is_subject and (m != "drop" or not is_subject)
    ]
    why = "leaves it encrypted only" if method == "keep" else "is not enough"
    proposal = f"write {listed(enough)}".replace(", ", " or ") if enough else "have the policy changed"
    what = f"column `{column.source_name}` is `{rule.name}` ({rule.sensitivity})"
    return f"{what} and `{method}` {why}; {proposal}"


def _partitions(contract: Contract, policy: Policy) -> Iterator[_Breach]:
    released = {c.name: c for c in contract.columns}
    lowest = policy.sensitivities[0]
    for name in contract.partition_by:
        column = released.get(name)
        if column is None:
            continue
        said = column.classification
        if said != HARMLESS and (said is None or policy.sensitivity(said) != lowest):
            level = "undeclared" if said is None else policy.sensitivity(said)
            say = (
                f"column `{name}` is {level} and would stand "
                f"in folder names, which are never encrypted; partition by a `{lowest}` column"
            )
            yield _Breach(("partition", column.source_name), say, WEAK)
