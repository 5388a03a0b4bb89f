"""Erasing one subject from each of many segments: at once, then by rewriting, destroying and searching."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench.experiment import OUT, Call, Experiment, Figure, Goal, cpu, peak, value_of, wall
from tests.bench.measuring import measure

_NAME = "bench_segments"
_SUBJECTS = 1000
"""Subjects a segment; the rows of each lie in one segment."""

_CONTRACT = f"""\
apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-000000000002
name: Segments
version: 1.0.0
status: active
customProperties:
  - property: governance
    value:
      kind: training
      purposes: [model_training]
      subject: {{column: subject_id, domain: customer, role: customer}}
      jurisdiction: DE
      loadMode: full
schema:
  - name: {_NAME}
    physicalType: table
    properties:
      - name: subject_pseudonym
        physicalName: subject_id
        logicalType: string
        classification: customer_id
        customProperties: [{{property: protection, value: pseudonym}}]
      - {{name: part, logicalType: integer, classification: none, partitioned: true, partitionKeyPosition: 1}}
      - {{name: amount, logicalType: integer, classification: none}}
      - {{name: score, logicalType: integer, classification: none}}
      - {{name: weight, logicalType: number, classification: none}}
"""


def _home(segments: int, rows: int) -> Path:
    return OUT / f"erasure-{segments}-{rows}"


def _settings(root: Path) -> Any:
    from governance.config import Settings

    return Settings.at(root, kek=f"file:{root}/secrets/kek.json")


def make_home(segments: int, rows: int) -> dict[str, Any]:
    """A home with one released version of so many segments of ``rows`` rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from governance.keys.providers.file import create_file_key
    from governance.model.resources import schemas
    from governance.pipeline.ledger import import_consent
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import run_pass
    from governance.pipeline.workspace import Workspace

    root = _home(segments, rows)
    if not root.exists():
        partial = root.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "secrets").mkdir(parents=True)
        create_file_key(partial / "secrets" / "kek.json")
        shutil.copy(schemas() / "examples" / "policy.yaml", partial / "policy.yaml")
        (partial / "contract.odcs.yaml").write_text(_CONTRACT)
        random = np.random.default_rng(segments)
        with pq.ParquetWriter(partial / "source.parquet", _rows(0, 1, random).schema) as writer:
            for part in range(segments):
                writer.write_table(_rows(part, rows, random))
        since = datetime.now(UTC) - timedelta(days=9)
        everybody = pa.concat_arrays([_names(part, np.arange(_SUBJECTS)) for part in range(segments)])
        same = {"domain": "customer", "purpose": "model_training", "action": "grant"}
        pq.write_table(
            pa.table(
                {
                    "record_id": pc.binary_join_element_wise("r", everybody, "-"),
                    "subject_id": everybody,
                    **{name: pa.repeat(value, len(everybody)) for name, value in same.items()},
                    "valid_from": pa.repeat(pa.scalar(since), len(everybody)),
                    "valid_to": pa.nulls(len(everybody), pa.timestamp("us", "UTC")),
                    "collected_at": pa.repeat(pa.scalar(since), len(everybody)),
                }
            ),
            partial / "consent.parquet",
        )
        workspace = Workspace.create(_settings(partial), origin="bench.example/erasure")
        import_consent(workspace, partial / "consent.parquet")
        run_pass(
            workspace,
            local_recorder(workspace, _NAME, "bench"),
            contract_path=partial / "contract.odcs.yaml",
            source=str(partial / "source.parquet"),
            purpose="model_training",
            run_id="bench",
        )
        partial.rename(root)
    return {"cpu_s": 0.0, "wall_s": 0.0, "peak_mib": 0.0}


def _names(part: int, numbers: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(f"C{part:04d}", pa.array(numbers).cast(pa.string()), "-")


def _rows(part: int, rows: int, random: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.table(
        {
            "subject_id": _names(part, np.arange(rows) % _SUBJECTS),
            "part": np.full(rows, part),
            "amount": random.integers(0, 1_000_000, rows),
            "score": random.integers(0, 100, rows),
            "weight": random.random(rows),
        }
    )


def erase(segments: int, rows: int, affected: int) -> dict[str, Any]:
    """One subject from each of the first ``affected`` segments, all in one request."""
    import numpy as np
    import pyarrow as pa

    from governance.pipeline.local import local_recorder
    from governance.pipeline.workspace import Workspace
    from governance.rights import erasure_facts, finish, request_erasure

    root = OUT / "work" / "erasure"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(_home(segments, rows), root)
    subjects = pa.concat_arrays([_names(part, np.array([7])) for part in range(affected)])
    workspace = Workspace.open(_settings(root))

    def ask() -> None:
        request_erasure(
            workspace,
            local_recorder(workspace, "erasure", "BENCH"),
            request="BENCH",
            domain="customer",
            identifiers=subjects,
            ground="objection",
            approve=lambda _: True,
        )

    asked = measure(ask)
    finished = measure(lambda: {"ended": len(finish(workspace))})
    certificate = erasure_facts(workspace.log, "BENCH") or {}
    [rewritten] = certificate["rewritten"]
    pieces = rewritten["segments"]
    if (len(pieces), sum(p["dropped"] for p in pieces)) != (affected, affected * rows // _SUBJECTS):
        raise AssertionError("an erasure that rewrote another number of segments or rows")
    written = sum(
        f.stat().st_size for p in pieces for f in (root / f"datasets/{_NAME}/segments/{p['to']}").iterdir()
    )
    shutil.rmtree(root)
    return {
        **finished,
        "ask_cpu": asked["cpu_s"],
        "ask_wall": asked["wall_s"],
        "written": written / sum(p["bytes_read"] for p in pieces),
        "rows_per_s": affected * rows / finished["cpu_s"],
    }


def experiments(quick: bool, rows: int | None) -> list[Experiment]:
    segments, affected = (60, 50) if quick else (400, 400)
    each = rows // segments if rows else (20_000 if quick else 50_000)
    sizes = {"segments": segments, "rows": each}
    return [
        Experiment(
            "erasure",
            Call("erasure:erase", {**sizes, "affected": affected}),
            [
                Figure("erasure.written", "× affected segments", value_of("written"), Goal("value", 1.05)),
                Figure("erasure.at_once.cpu", "s", value_of("ask_cpu")),
                Figure("erasure.at_once.wall", "s", value_of("ask_wall")),
                Figure("erasure.finish.cpu", "s", cpu),
                Figure("erasure.finish.wall", "s", wall),
                Figure("erasure.finish.rows", "rows/s", value_of("rows_per_s")),
                Figure("erasure.memory", "MiB", peak, Goal("value", 1536, unit="MiB")),
            ],
            before=[Call("erasure:make_home", sizes)],
            pairs=1,
            context={**sizes, "affected_segments": affected, "subjects": affected},
        )
    ]
