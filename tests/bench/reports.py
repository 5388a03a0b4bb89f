"""Audit reports over a large log: what each kind takes when the log was never read, and afterwards, and of the past.

The log is the seeded world of the reports' own tests, told over and over by the real recorder: seven in eight entries
are events of other jobs (4.5 KB, three a run), the rest governed runs with signed evidence, disclosures, erasures and
consent batches. Each report is made by a process of its own; those it starts count too.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.experiment import OUT, ROOT, Call, Experiment, Figure, Goal, value_of

_SPAN = 2_000
"""Entries of a chapter of the story, about; it is told again until the log is long enough."""

KINDS = (
    "breach", "ccpa-requests", "compliance", "consent-evidence", "deidentification", "dpia", "gdpr-art17",
    "gdpr-art30", "gdpr-art30-2", "hipaa-528", "hipaa-activity", "transfers",
)  # fmt: skip


class _Written:
    """Stands between the world and its log: entries are appended by thousands, and their indexes foretold."""

    def __init__(self, log: Any) -> None:
        self._log, self._pending, self._next = log, [], log.size()
        self.storage, self.origin = log.storage, log.origin

    def size(self) -> int:
        return int(self._next)

    def append(self, entries: Sequence[Any]) -> list[int]:
        first = self._next
        self._pending += entries
        self._next += len(entries)
        if len(self._pending) >= 1_000:
            self.flush()
        return list(range(first, self._next))

    def flush(self) -> None:
        if self._pending:
            indexes = self._log.append(self._pending)
            assert indexes[-1] == self._next - 1, "an entry was in the log already"
            self._pending = []

    def checkpoint(self) -> Any:
        self.flush()
        return self._log.checkpoint()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def _told() -> Any:
    """The modules that tell the story of the reports' own tests."""
    sys.path.insert(0, str(ROOT / "tests" / "unit" / "audit"))
    import audit_rights_story
    import audit_story
    import audit_world

    return audit_world, audit_story, audit_rights_story


def _folder(events: int) -> Path:
    return OUT / f"reports-log-{events}"


def make_log(events: int) -> dict[str, Any]:
    """A log of that many entries in SQLite, with checkpoints on the way."""
    folder = _folder(events)
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _tell(partial, events)
        partial.rename(folder)
    return {"cpu_s": 0.0, "wall_s": 0.0, "peak_mib": 0.0}


def _tell(folder: Path, events: int) -> None:
    from governance.log import OPENLINEAGE_EVENT, NewEntry
    from tests.bench.lineage_index import body

    audit_world, story, _ = _told()
    world = audit_world.World(folder)
    written = world.log = _Written(world.log)
    datasets = {
        "clinical_encounters": story.CLINICAL,
        "customer_profiles": story.CUSTOMERS,
        "support_prompts": story.PROMPTS,
    }
    policy, contracts = world.policy(), {name: world.contract(name) for name in datasets}
    number = chapter = 0
    while written.size() < events:
        chapter += 1
        world.batch(chapter, 400)
        for name, columns in datasets.items():
            for again in range(4 if name == "clinical_encounters" else 5):
                run = world.open(
                    name,
                    "support_inference" if name == "support_prompts" else "model_training",
                    policy=policy,
                    contract=contracts[name],
                    run_id=f"scheduled__{chapter}-{again}",
                )
                _run(world, story, run, columns, chapter, again)
        stop = min(chapter * _SPAN, events) - written.size()
        bodies = [
            NewEntry(body(n, True), OPENLINEAGE_EVENT, "ingest:airflow") for n in range(number, number + stop)
        ]
        written.append(bodies)
        number += len(bodies)
        if chapter % 10 == 0:
            written.checkpoint()
    written.checkpoint()
    world.log.close()


def _run(world: Any, story: Any, run: Any, columns: Any, chapter: int, again: int) -> None:
    _, _, rights = _told()
    if again == 3 and chapter % 10 == 0:
        story.passed(run, columns, success=False)
        run.release("quarantined", reasons=[{"code": "GOV-402", "message": "2 quality rules fail"}])
        return
    story.released(run, columns, late_withdrawals=int(again == 1))
    if again == 0:
        listed = {"applies": True, "exclusion": None, "ground": "research_waiver"}
        world.disclose(run, 10 * chapter, "research", listed)
    if again == 1 and chapter % 5 == 0:
        request = f"DSR-{chapter}-{run.context['dataset']}"
        rights.begun(world, request)
        rights.erasure_step(
            world,
            [request],
            {"state": "destroyed", **rights.LOSSES, "doomed": [], "destruction": rights.SURE},
        )
        rights.searched(world, request)


def make(events: int, kinds: Sequence[str], past: bool = False, fresh: bool = False) -> dict[str, Any]:
    """Make reports one after the other, in this process; ``fresh``: nothing was read of the log before."""
    from types import SimpleNamespace

    from governance.audit import make_report
    from governance.log import CheckpointSigner, Log, open_storage, vkey_of

    audit_world, _, _ = _told()
    folder = _folder(events)
    signer, root = audit_world.Key("log"), audit_world.Key("evidence root")
    log = Log(
        open_storage(str(folder / "store")),
        signer=CheckpointSigner(signer, audit_world.ORIGIN, folder / "signer" / "memory.note"),
        clock=lambda: audit_world.World.start,
    )
    source = SimpleNamespace(
        log=log,
        vkey=vkey_of(audit_world.ORIGIN, signer.public_key),
        keyring=SimpleNamespace(evidence_signer=root),
        readings=folder / "readings",
    )
    if fresh:
        shutil.rmtree(source.readings, ignore_errors=True)
    out = OUT / "tmp" / f"reports-{os.getpid()}"
    found: dict[str, Any] = {"rows": 0}
    spent, begun = _cpu(), time.perf_counter()
    for kind in kinds:
        asked = {"dataset": "customer_profiles"} if kind == "breach" else None
        made = make_report(source, kind, out, as_of=events * 6 // 10 if past else None, asked=asked)
        found["rows"] += len(made.record["rows"])
        found["entries"] = made.record["population"]["whole_log"]["entries"]
        found["json_mib"] = made.json.stat().st_size / 2**20
    found |= {"wall_s": time.perf_counter() - begun, "cpu_s": _cpu() - spent}
    shutil.rmtree(out)
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # The largest child, as often as there can be children at once.
    found["peak_mib"] = (peaks[0] + peaks[1] * min(4, len(os.sched_getaffinity(0)))) / 1024
    return found


def _cpu() -> float:
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in each)


def experiments(quick: bool) -> list[Experiment]:
    sizes = (30_000,) if quick else (100_000, 1_000_000)
    made = []
    for events in sizes:
        size = f"{events // 1_000}k"
        cases = [("first", ["gdpr-art30"], {"fresh": True})]
        cases += [(kind, [kind], {}) for kind in KINDS]
        cases += [(f"past.{kind}", [kind], {"past": True}) for kind in KINDS]
        for name, kinds, how in cases:
            made.append(
                Experiment(
                    f"reports.{size}.{name}",
                    Call("reports:make", {"events": events, "kinds": kinds, **how}),
                    [
                        Figure(f"reports.{size}.{name}", "s", value_of("wall_s"), Goal("value", 10, unit="s")),
                        Figure(f"reports.{size}.{name}.cpu", "CPU s", value_of("cpu_s")),
                        Figure(
                            f"reports.{size}.{name}.memory", "MiB", value_of("peak_mib"),
                            Goal("value", 1_024, unit="MiB"),
                        ),
                    ],
                    before=[Call("reports:make_log", {"events": events})],
                    pairs=1,
                    context={"events": events},
                )
            )  # fmt: skip
    return made
