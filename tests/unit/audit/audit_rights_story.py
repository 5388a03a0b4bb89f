"""Erasures in the seeded world: one that went well, and every exception of the certificate once."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from audit_world import Key, Run, World

from governance.lineage.naming import openlineage_run_id
from governance.lineage.recorder import OpenLineageRecorder
from governance.model.canonical import canonical, digest, timestamp
from governance.model.erasure import TOMBSTONE
from governance.model.evidence import Evidence, Stage, StageRecord

Leaf = tuple[int, str]

PLACES = [
    {"place": "datasets/*/segments/**", "searched_for": ["released pseudonym"], "read": 2, "found": 0},
    {"place": "vault/vault.sqlite", "searched_for": ["blind index"], "read": 40, "found": 0},
]
REMAINS = [{"place": "vault/vault.sqlite", "why": "one keyed mark on the suppression list"}]
LOSSES = {"doomed": ["s1"], "epoch": "e2", "keys": 2, "refused": 2, "caches": []}
SURE = {"epochs": ["e1"], "confirmed": True, "pending": []}
UNSURE = {"epochs": ["e1"], "confirmed": False, "pending": ["file: backups cannot be vouched for"]}


def erasure_step(
    world: World, requests: Sequence[str], facts: Mapping[str, Any], key: Key | None = None
) -> int:
    """A step of erasures, as the pipeline records it."""
    context = {"requests": list(requests), "policy_digest": digest(b"policy")}
    recorder = OpenLineageRecorder(
        world.log,
        producer="https://github.com/airflow-governance/airflow-governance/tree/0.1.0",
        namespace="governance",
        job=lambda stage: f"erasure.{stage.value}",
        run_id=lambda stage: openlineage_run_id(
            namespace="governance",
            dataset="erasure",
            run_id=requests[0],
            map_index=-1,
            stage=stage.value,
            attempt="1",
        ),
        lifecycle=True,
        clock=world.clock,
        principal="evidence:pipeline",
    )
    record = StageRecord(Evidence(Stage.ERASURE, facts), context)
    index = recorder.record(record, key or world.root)
    recorder.completed(Stage.ERASURE, context, record)
    return index


def tombstone(world: World, request: str) -> int:
    return world.put(
        canonical({"v": 1, "request": request, "domain": "patient"}), TOMBSTONE, "evidence:pipeline"
    )


def begun(
    world: World, request: str, *, days: int = 30, stone: int | None = None, **facts: Any
) -> dict[str, Any]:
    """Tombstone, request and suppression; what the request's step states."""
    asked = world.clock()
    stated = {
        "domain": "patient",
        "tombstone": tombstone(world, request) if stone is None else stone,
        "ground": "consent-withdrawn",
        "requested_at": timestamp(asked),
        "due_at": timestamp(asked + timedelta(days=days)),
        "subjects": 1,
        **facts,
    }
    planned = {"unknown": 0, "erased_before": 0, "held": 0, "datasets": [], "derived": [], "recipients": []}
    erasure_step(
        world, [request], {**planned, "holds": [], "remains": REMAINS, **stated, "state": "requested"}
    )
    if stated["subjects"]:
        erasure_step(world, [request], {**stated, "held": stated.get("held", 0), "state": "suppressed"})
    return stated


def searched(world: World, request: str, **facts: Any) -> int:
    stated = {"places": PLACES, "found": 0, "held": 0, "holds": [], "remains": REMAINS, "complete": True}
    return erasure_step(world, [request], {"state": "searched", **stated, **facts})


def rewritten(world: World, request: str, dataset: str, before: Run, run: Run | None) -> int:
    version = run.context["version"] if run else "v" + "0" * 24
    return erasure_step(
        world,
        [request],
        {
            "state": "rewritten",
            "dataset": dataset,
            "quarantine": [],
            "doomed": ["s1"],
            "version": version,
            "previous_version": before.context["version"],
            "segments": [{"from": "s1", "to": f"{version}-1", "rows": 62, "dropped": 2}],
            "rows": 62,
            "verified": True,
        },
    )


def training(world: World, dataset: str) -> int:
    """A training outside reads a dataset and writes a model; evaluations read the model."""
    last = 0
    for job, read, wrote in (
        ("train.clinical_model", ("gov", dataset), ("models", "clinical-model")),
        ("evaluate.clinical_model", ("models", "clinical-model"), ("reports", "clinical-scores")),
        ("load.weather", ("raw", "weather"), ("mart", "weather")),
    ):
        last = world.event(
            {
                "eventType": "OTHER",
                "eventTime": timestamp(world.clock()),
                "run": {
                    "runId": openlineage_run_id(
                        namespace="ml", dataset=job, run_id="1", map_index=-1, stage="x", attempt="1"
                    )
                },
                "job": {"namespace": "airflow", "name": job},
                "inputs": [{"namespace": read[0], "name": read[1]}],
                "outputs": [{"namespace": wrote[0], "name": wrote[1]}],
                "producer": "https://example.com",
                "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
            }
        )
    return last


def made_without(world: World, before: Run, request: str, policy: Leaf, contract: Leaf) -> Run:
    """A run that makes the version without the erased subjects, and its opening."""
    run_id = f"erasure-{request}"
    version = "v" + digest(f"{before.context['dataset']} {run_id}".encode()).removeprefix("sha256:")[:24]
    attempt = digest(run_id.encode())[7:15]
    context = {**before.context, "version": version, "run_id": run_id, "attempt": attempt}
    run = replace(before, context=context, key=Key(run_id))
    opened = before.context
    run.prove(
        Stage.OPEN,
        {
            "source": {
                "kind": "governed_version",
                "uri": "gov://",
                "digest": opened["source_digest"],
                "files": [],
            },
            "contract": {"dataset": opened["dataset"], "digest": contract[1], "log_index": contract[0]},
            "policy": {"digest": policy[1], "log_index": policy[0]},
            "run_public_key": base64.b64encode(run.key.public_key).decode(),
            "consent_position": 2,
            "previous_version": opened["version"],
        },
        signer=world.root,
    )
    return run


def tell_erasures(
    world: World, first: Run, prompts: Run, disclosed: int, policy: Leaf, contract: Leaf
) -> None:
    """The requests, DSR-1 to DSR-6."""
    training(world, "clinical_encounters")
    held = {
        "dataset": "clinical_encounters",
        "regime": "GDPR",
        "ground": "Art. 17(3)(e): matter 7",
        "until": None,
    }
    told = [
        {
            "recipient": "northlake-research",
            "disclosure_id": f"d{1:024x}",
            "dataset": "clinical_encounters",
            "version": first.context["version"],
            "log_index": disclosed,
        }
    ]
    found = {
        "dataset": "support_prompts",
        "version": prompts.context["version"],
        "segments": 1,
        "rows": 2,
        "earlier_segments": 0,
        "quarantine_segments": 0,
        "held": False,
    }
    derived = [{"kind": "job", "namespace": "airflow", "name": "train.clinical_model", "depth": 1}]

    begun(world, "DSR-1", datasets=[found], recipients=told, derived=derived)
    searched(world, "DSR-1", complete=False)
    run = made_without(world, prompts, "DSR-1", policy, contract)
    rewritten(world, "DSR-1", "support_prompts", prompts, run)
    run.release("released", rows=62)
    erasure_step(world, ["DSR-1"], {"state": "destroyed", **LOSSES, "destruction": SURE})
    searched(world, "DSR-1")

    begun(world, "DSR-2", held=1)
    erasure_step(world, ["DSR-2"], {"state": "destroyed", **LOSSES, "doomed": [], "destruction": SURE})
    searched(world, "DSR-2", held=1, holds=[held])

    begun(world, "DSR-3", days=-1)
    rewritten(world, "DSR-3", "clinical_encounters", first, None)
    bad = {**LOSSES, "refused": 1, "destruction": SURE}
    erasure_step(world, ["DSR-3"], {"state": "destroyed", **bad})
    searched(world, "DSR-3", found=1, complete=False, places=[{**PLACES[0], "found": 2}, PLACES[1]])

    tombstone(world, "DSR-4")
    erasure_step(world, ["DSR-4"], {"state": "searched", "complete": True}, key=Key("a thief"))

    begun(world, "DSR-5", stone=0)
    erasure_step(world, ["DSR-5"], {"state": "destroyed", **LOSSES, "doomed": [], "destruction": UNSURE})
    searched(world, "DSR-5")

    begun(world, "DSR-6", subjects=0, unknown=1)
