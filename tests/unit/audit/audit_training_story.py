"""Models and what they were trained on: declared well, declared twice, and every exception once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit_story import CLINICAL, CUSTOMERS, fixed_salts, released
from audit_world import Run, World

from governance.model.canonical import canonical, digest
from governance.model.statements import LANDING, TRAINED

HOSTILE = '=cmd|"/C calc"!A0<script>alert(1)</script>'
PIPELINE = "evidence:pipeline"

DECLARED = """      aiAct:
        intendedPurpose: Finding customers who may leave
        designChoices: One row per customer
        collection: Entered by customers at registration
        originalPurpose: Performance of the sales contract
        labelling: Tiers set by the billing system
        assumptions: A tier stands for a year's turnover
        suitability: All customers of three years
        biasExamination: Compared by country with the customer base
        biasMitigation: Weights by country
        gaps: Customers without e-mail are few
        setting: Retail in the Union and California
        content:
          source: user_data
          description: Profiles of our own customers
          modalities: [text]
          languages: [de, en]
          acquiredUntil: "2026-02"
          tokens: 1200000000
          rightsReservation: Nothing of third parties is in it
          illegalContent: No free text is in it
"""

SYSTEMS = """
aiSystems:
  churn:
    title: Churn 2.1
    intendedPurpose: Finding customers who may leave
    training: Gradient boosting
    provider: {name: Meridian Retail SE, country: DE}
    representative: {name: Meridian Health Europe GmbH, country: DE}
    basedOn: [tabular-base 1.0]
    placedOnMarket: "2026-01-31"
    continuouslyTrained: false
  twice:
    intendedPurpose: Setting prices
"""


def declaring(text: str) -> Callable[[str], str]:
    """Put declarations into a frozen contract."""

    def edit(contract: str) -> str:
        assert "      loadMode: full\n" in contract
        return contract.replace("      loadMode: full\n", "      loadMode: full\n" + text)

    return edit


def trained(
    world: World,
    model: str,
    *runs: Run,
    purpose: str = "model_training",
    by: str = PIPELINE,
    file: str = "1",
    **said: Any,
) -> int:
    inputs = [
        {
            "dataset": r.context["dataset"],
            "version": r.context["version"],
            "manifest_digest": r.manifest,
            **said,
        }
        for r in runs
    ]
    body = {
        "model": model,
        "digest": digest(f"{model} {file}".encode()),
        "purpose": purpose,
        "inputs": inputs,
    }
    return world.put(canonical(body), TRAINED, by)


def training(folder: Path) -> World:
    """The same log each time."""
    with fixed_salts():
        world = World(folder)
        _tell(world)
        return world


def _tell(world: World) -> None:
    world.batch(1, 400)
    world.batch(2, 25)
    policy = world.policy(lambda text: text + SYSTEMS)
    changed = DECLARED.replace("source: user_data", "source: licensed").replace("Weights by country", "None")
    customers = world.contract("customer_profiles", declaring(DECLARED))
    other = world.contract("customer_profiles", declaring(changed))
    clinical = world.contract("clinical_encounters")

    def run(dataset: str, run_id: str, contract: tuple[int, str]) -> Run:
        return world.open(dataset, "model_training", policy=policy, contract=contract, run_id=run_id)

    first = run("customer_profiles", "first", customers)
    released(first, CUSTOMERS)
    second = run("customer_profiles", "second", other)
    released(second, CUSTOMERS, late_withdrawals=1)
    patients = run("clinical_encounters", "patients", clinical)
    released(patients, CLINICAL)
    gone = run("clinical_encounters", "gone", clinical)
    gone.release("quarantined", reasons=[{"code": "GOV-402", "message": "no"}])

    trained(world, "churn", first)
    trained(world, "churn", first, file="2")  # a second time, though it is declared not to be
    trained(world, "twice", first, second)
    trained(world, "careless", gone)
    trained(world, "careless", patients, purpose="research")
    trained(world, "swapped", patients, manifest_digest=digest(b"another"))
    trained(world, "churn", patients, by="ingest:airflow")
    trained(world, HOSTILE, first)
    _derived(world, policy, clinical, patients)
    world.log.checkpoint()


def _derived(world: World, policy: tuple[int, str], contract: tuple[int, str], source: Run) -> None:
    """A task makes rows of a released version, a run takes them in, and a model is trained on that."""
    name = "derived-1"
    said = {
        "dataset": source.context["dataset"],
        "version": source.context["version"],
        "manifest_digest": source.manifest,
    }
    body = {
        "dataset": "stays",
        "name": name,
        "kind": "derived",
        "purpose": "model_training",
        "inputs": [said],
        "rows": 9,
    }
    index = world.put(canonical(body), LANDING, PIPELINE)
    stays = world.open(
        "stays",
        "model_training",
        policy=policy,
        contract=contract,
        run_id="stays",
        uri=f"derived:stays/{name}/{index}",
    )
    released(stays, CLINICAL)
    trained(world, "stays-model", stays)
