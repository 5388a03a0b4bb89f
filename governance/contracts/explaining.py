"""Why each column is protected as it is, for people to read before anything is written."""

from __future__ import annotations

import json
from dataclasses import dataclass

from governance.contracts.faults import listed
from governance.model.classification import HARMLESS
from governance.model.contract import Contract, ContractColumn
from governance.model.policy import Policy


@dataclass(frozen=True, slots=True)
class ExplainedColumn:
    """One row of the table. ``released_as`` is ``None`` for a dropped column; ``enough`` is the verdict."""

    column: str
    released_as: str | None
    classification: str
    sensitivity: str
    protection: str
    enough: bool
    why: str


def explain(contract: Contract, policy: Policy) -> list[ExplainedColumn]:
    """Every column in the contract's order, with the policy's word on it. Raises nothing: a contract
    that :func:`governance.contracts.check` refuses is explained too."""
    return [_explained(column, contract, policy) for column in contract.columns]


def _explained(column: ContractColumn, contract: Contract, policy: Policy) -> ExplainedColumn:
    method = column.protection.method
    arguments = ", ".join(f"{k}: {json.dumps(v)}" for k, v in column.protection.arguments.items())
    enough, why = _judged(column, contract, policy)
    return ExplainedColumn(
        column=column.source_name,
        released_as=None if method == "drop" else column.name,
        classification=column.classification or "(undeclared)",
        sensitivity=_sensitivity(column, policy),
        protection=f"{method} ({arguments})" if arguments else method,
        enough=enough,
        why=why,
    )


def _sensitivity(column: ContractColumn, policy: Policy) -> str:
    if column.classification == HARMLESS:
        return policy.sensitivities[0]
    return policy.sensitivity(column.classification or "")


def _judged(column: ContractColumn, contract: Contract, policy: Policy) -> tuple[bool, str]:
    method, said = column.protection.method, column.classification
    if said is None:
        return False, "undeclared: what the run finds in it decides, and stops the run if it is sensitive"
    if said == HARMLESS:
        return True, "declared harmless: the run stops if it finds otherwise"
    rule = policy.classifications.get(said)
    if rule is None:
        return False, f"the policy does not know `{said}`"
    if method not in rule.protections:
        return False, f"the policy asks `{said}` for {listed(rule.protections)}"
    if rule.special_category and method != "drop" and not contract.special_category:
        return (
            False,
            "a special category (GDPR Art. 9) in a contract that does not say `specialCategory: true`",
        )
    if column.source_name in contract.subject.columns:
        return True, "the data subject: a random pseudonym from the vault, gone with its entry"
    if method == "drop":
        return True, "not in the released version"
    if method == "keep":
        return True, "encryption alone is enough under the policy"
    return True, f"the policy accepts `{method}` for `{said}`"
