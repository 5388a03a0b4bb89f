"""A log for the reports under HIPAA: two months, in which everything they tell of happens once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit_story import CLINICAL, PROMPTS, fixed_salts, released
from audit_world import Key, Run, World

from governance.lineage.recorder import OpenLineageRecorder
from governance.model.canonical import canonical
from governance.model.evidence import Evidence, Stage, StageRecord

KIND = "application/vnd.governance."
MARCH, APRIL = ("2026-03-01", "2026-03-31"), ("2026-04-01", "2026-04-30")
SCRIPT, FORMULA = "<script>alert(1)</script>", '=HYPERLINK("http://attacker.example")'
WAIVED = {"applies": True, "exclusion": None, "ground": "research_waiver"}
POLICY = """
minimumNecessary:
  - {role: northlake-research, purpose: research, classifications: [age, medical_record_number], protocol: MN-7}
  - {role: clinical-reader, purpose: model_training, exemption: treatment}
  - {role: clinical-etl, purpose: research, classifications: [health_condition, free_text, medical_record_number]}
reviewHours: {days: [monday, tuesday, wednesday, thursday, friday], from: "07:00", to: "19:00"}
"""


def leaf(world: World, media: str, principal: str, /, **said: Any) -> int:
    return world.put(canonical({"v": 1, **said}), f"{KIND}{media}", principal)


def looked_up(world: World, caller: str, reason: str, principal: str = "audit:ines") -> int:
    what = {"kind": "subject", "pseudonym": "5e" * 16}
    return leaf(world, "access+json", principal, id=str(world.ticks), caller=caller, what=what, reason=reason)


def grant(world: World, run: Run, number: int, workload: str, purpose: str, **facts: Any) -> int:
    """What the broker recorded of a workload."""
    context = {**{k: run.context[k] for k in ("dataset", "version", "attempt")}, "purpose": purpose}
    recorder = OpenLineageRecorder(
        world.log,
        producer="https://github.com/airflow-governance/airflow-governance/tree/0.1.0",
        namespace="governance",
        job=lambda _: "clinical_encounters.keys",
        run_id=lambda _: f"0198c0de-0000-4000-8000-{number:012x}",
        lifecycle=False,
        clock=world.clock,
        principal="evidence:broker",
    )
    return recorder.record(
        StageRecord(Evidence(Stage.KEY_GRANT, {"workload": workload, **facts}), context), world.root
    )


def hipaa_world(folder: Path) -> World:
    with fixed_salts():
        return _tell(World(folder))


def _tell(world: World) -> World:
    policy = world.policy(lambda text: text + POLICY)
    opened = {"policy": policy, "contract": world.contract("clinical_encounters")}
    run = world.open("clinical_encounters", "model_training", run_id="march", **opened)
    released(run, CLINICAL)
    keys = {"operation": "read", "keys": [f"seg.{run.context['version']}-0.restricted"]}
    world.disclose(run, 1, "research", WAIVED)
    world.disclose(run, 2, "model_training", {"applies": False, "ground": "authorization"})
    grant(world, run, 1, "clinical-etl", "research", state="released", **keys)
    grant(world, run, 2, "clinical-reader", "model_training", state="released", **keys)
    for number in (3, 4):
        grant(world, run, number, "clinical-reader", "model_training", state="refused", reason="purpose")
    read = {"dataset": "clinical_encounters", "version": run.context["version"], "columns": ["age"]}
    leaf(world, "read+json", "evidence:pipeline", purpose="research", **read)
    looked_up(world, "ines", "DSR-7")
    looked_up(world, "ines", "")
    leaf(world, "token+json", "admin:cli", id="0" * 16, name="newcomer", scopes=["audit"])
    leaf(world, "observed+json", "evidence:pipeline", dataset="customer_profiles", stage="validate")

    # A Sunday night in April, and who was not there in March.
    world.start = datetime(2026, 4, 5, 2, tzinfo=UTC)
    looked_up(world, SCRIPT, FORMULA, "audit:newcomer")
    world.put(b'{"v":', f"{KIND}access+json", "audit:newcomer")
    prompts = {"policy": policy, "contract": world.contract("support_prompts")}
    chats = world.open("support_prompts", "support_inference", run_id="april", kind="inference", **prompts)
    released(chats, PROMPTS)
    world.disclose(
        chats, 3, "support_inference", {"applies": False, "exclusion": "not protected health information"}
    )
    chats.failed(Stage.DISCLOSE, "GOV-602", "not permitted")
    Run(world, {**run.context}, Key("a thief")).prove(Stage.PROTECT, {"rows_in": 1})
    world.log.checkpoint()
    return world
