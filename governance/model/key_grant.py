"""What keys are wanted for: said by who asks a key broker, checked by it, kept in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Operation(StrEnum):
    """What a workload does with keys. ``open`` and ``seal`` are a run's, which the policy allows as one.

    ``detokenize`` is a read that turns tokens of free text back into values.
    """

    OPEN = "open"
    SEAL = "seal"
    READ = "read"
    DISCLOSE = "disclose"
    DETOKENIZE = "detokenize"


@dataclass(frozen=True, slots=True)
class TaskTry:
    """One try of an Airflow task. ``map_index`` is −1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a grant is asked for: one operation on one version of a dataset, for one purpose.

    ``version`` and ``attempt`` name the run that makes the version, or made the one that is read.
    ``recipient`` is whom a disclosure goes to.
    """

    operation: Operation
    dataset: str
    purpose: str
    contract_digest: str
    policy_digest: str
    version: str
    attempt: str
    recipient: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v is not None}

    @classmethod
    def of_run(cls, operation: Operation, run: Mapping[str, Any]) -> Claim:
        """The claim of a run, as its opening or its manifest states it."""
        pinned = ("dataset", "purpose", "contract_digest", "policy_digest", "version", "attempt")
        return cls(operation, **{name: run[name] for name in pinned})


@dataclass(frozen=True, slots=True)
class Workload:
    """Who may ask the key broker, and for what, as the policy says.

    ``subjects`` are the ``sub`` of its tokens. A dataset that ends in ``*`` stands for every name that begins so.
    ``sensitivity`` is the highest level whose keys it gets.
    """

    name: str
    subjects: tuple[str, ...]
    datasets: tuple[str, ...]
    purposes: tuple[str, ...]
    operations: tuple[Operation, ...]
    sensitivity: str

    def works_on(self, dataset: str) -> bool:
        return any(
            dataset.startswith(named[:-1]) if named.endswith("*") else dataset == named
            for named in self.datasets
        )
