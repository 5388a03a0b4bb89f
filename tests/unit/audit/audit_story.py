"""The story a world tells: what goes well, and every exception once. Keys, clock and salts are fixed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from audit_rights_story import tell_erasures
from audit_world import Key, Run, World

from governance.log import OPENLINEAGE_EVENT
from governance.model.evidence import Stage


def column(
    name: str,
    declared: str | None,
    found: str,
    sensitivity: str,
    *,
    released_as: str | None = None,
    contains: Sequence[str] = (),
) -> dict[str, Any]:
    """A column as ``classify`` states it."""
    return {
        "column": name,
        "released_as": released_as or name,
        "declared": declared,
        "found": found,
        "classification": declared or found,
        "sensitivity": sensitivity,
        "confidence": 0.97,
        "evidence": ["97 of 100 values"],
        "values_read": 100,
        "miss_bound": None,
        "contains": [{"classification": c, "rows": 4} for c in contains],
        "agreement": "agrees" if declared == found else "stricter",
    }


def treated(seen: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The same column as ``protect`` states it."""
    return {
        "column": seen["released_as"],
        "source_column": seen["column"],
        "classification": seen["classification"],
        "sensitivity": seen["sensitivity"],
        "method": method,
        "masking": method != "keep",
        "verified_rows": 64,
        "nulled": 0,
        "encrypted": method != "drop",
        "dropped": method == "drop",
    }


CLINICAL = (
    (
        column("mrn", *["medical_record_number"] * 2, "restricted", released_as="patient_pseudonym"),
        "pseudonym",
    ),
    (column("patient_name", *["person_name"] * 2, "confidential"), "drop"),
    (
        column("date_of_birth", *["date_of_birth"] * 2, "confidential", released_as="birth_year"),
        "date_to_year",
    ),
    (column("age", *["age"] * 2, "internal"), "age_cap"),
    (column("diagnosis_code", "health_condition", "none", "restricted"), "keep"),
    (column("clinical_note", *["free_text"] * 2, "restricted", contains=["phone", "email"]), "redact"),
    (column("department", *["none"] * 2, "public"), "keep"),
)
CUSTOMERS = (
    (column("customer_id", *["customer_id"] * 2, "confidential"), "pseudonym"),
    (column("full_name", "person_name", "given_name", "confidential"), "drop"),
    (column("email", *["email"] * 2, "confidential"), "drop"),
)
PROMPTS = (
    (column("customer_id", *["customer_id"] * 2, "confidential"), "pseudonym"),
    (column("prompt", *["free_text"] * 2, "restricted", contains=["iban"]), "redact"),
)

Columns = Sequence[tuple[Mapping[str, Any], str]]


def passed(run: Run, columns: Columns, *, backdated: int = 0, success: bool = True) -> None:
    """Everything before the release."""
    run.classify([seen for seen, _ in columns])
    run.consent(backdated=backdated)
    run.protect([treated(seen, method) for seen, method in columns])
    run.validate(success=success)


def released(run: Run, columns: Columns, *, backdated: int = 0, **facts: Any) -> int:
    passed(run, columns, backdated=backdated)
    run.started(Stage.RELEASE)
    run.release("intended")
    index = run.release("released", **facts)
    run.completed(Stage.RELEASE)
    return index


@contextmanager
def fixed_salts() -> Any:
    """Salts in order, so that a world has the same leaves, roots and proofs each time."""
    import governance.log.sealing as module

    counter = iter(range(1, 1 << 20))
    original = module.secrets.token_bytes
    module.secrets.token_bytes = lambda n=32: b"".join(  # type: ignore[assignment]
        next(counter).to_bytes(32, "big") for _ in range(n // 32)
    )
    try:
        yield
    finally:
        module.secrets.token_bytes = original


def full_world(folder: Path) -> World:
    """Every exception once. The salts are fixed: the same folder or another, the same log."""
    with fixed_salts():
        return _full_world(folder)


def _full_world(folder: Path) -> World:
    world = World(folder)
    world.batch(1, 400)
    world.batch(2, 25)
    policy = world.policy()
    clinical, customers, prompts = (
        world.contract(d) for d in ("clinical_encounters", "customer_profiles", "support_prompts")
    )
    world.log.checkpoint()

    first = world.open(
        "clinical_encounters", "model_training", policy=policy, contract=clinical, run_id="scheduled__1"
    )
    released(first, CLINICAL, backdated=2, late_withdrawals=3)
    world.log.checkpoint()

    failing = world.open(
        "customer_profiles", "model_training", policy=policy, contract=customers, run_id="scheduled__2"
    )
    failing.classify([seen for seen, _ in CUSTOMERS])
    failing.consent()
    failing.protect([treated(seen, method) for seen, method in CUSTOMERS])
    failing.started(Stage.VALIDATE)
    failing.prove(Stage.VALIDATE, {"success": False, "rows": 64, "results": [], "checks": []})
    failing.release("quarantined", reasons=[{"code": "GOV-402", "message": "2 quality rules fail"}])
    failing.failed(Stage.VALIDATE, "GOV-402", "2 quality rules fail")

    inference = world.open(
        "support_prompts",
        "support_inference",
        policy=policy,
        contract=prompts,
        run_id="asset__3",
        kind="inference",
    )
    released(inference, PROMPTS, recovered=True)

    torn = world.open(
        "clinical_encounters", "model_training", policy=policy, contract=clinical, run_id="scheduled__4"
    )
    passed(torn, CLINICAL)
    torn.release("intended")

    killed = world.open(
        "customer_profiles", "model_training", policy=policy, contract=customers, run_id="scheduled__5"
    )
    killed.started(Stage.CLASSIFY)

    late = replace(torn, drift=timedelta(days=3))
    late.prove(Stage.CONSENT, {"rows": 100, "allowed": 70, "denied": 30, "by_reason": {}, "position": 2})

    disclosed = _disclosures(world, first)
    _others(world, first, policy)
    tell_erasures(world, first, inference, disclosed, policy, prompts)
    world.log.checkpoint()
    return world


def _disclosures(world: World, run: Run) -> int:
    """Where the first stands."""
    listed = {"applies": True, "exclusion": None, "ground": "research_waiver"}
    authorized = {
        "applies": False,
        "exclusion": "pursuant to an authorization (164.528(a)(1)(iv))",
        "ground": "authorization",
    }
    index = world.disclose(run, 1, "research", listed)
    world.disclose(run, 2, "model_training", authorized)
    world.disclose(run, 3, "research", authorized)  # the policy does not bear it out
    return index


def _others(world: World, run: Run, policy: tuple[int, str]) -> None:
    forged = replace(run, principal="ingest:airflow")
    world.disclose(forged, 9, "research", {"applies": True, "ground": "research_waiver"})
    replace(run, key=Key("a thief")).prove(Stage.PROTECT, {"rows_in": 1})
    task = str(uuid.UUID(int=7))
    job = {"namespace": "airflow", "name": "other_dag.load"}
    about = {
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
    }
    for state, minute in (("START", 0), ("COMPLETE", 1)):
        world.event(
            {
                "eventType": state,
                "eventTime": f"2026-03-02T12:0{minute}:00Z",
                "run": {"runId": task},
                "job": job,
                **about,
            }
        )
    mistake = world.event(
        {
            "eventType": "OTHER",
            "eventTime": "2026-03-02T12:05:00Z",
            "run": {"runId": str(uuid.UUID(int=8))},
            "job": job,
            **about,
        }
    )
    world.log.redact(mistake, "GDPR Art. 17(1)(d)", "rights:dpo")
    world.put(b"{", OPENLINEAGE_EVENT, "ingest:airflow")
    del policy


def regenerate() -> bool:
    """Whether golden files are written rather than compared."""
    return bool(os.environ.get("GOVERNANCE_REGENERATE"))
