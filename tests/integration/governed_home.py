"""A governance home as tests use it: run a pass, read a release, call the command, look at what is there."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from governance.access import read_released
from governance.config import Settings
from governance.demo.home import demo_settings
from governance.errors import GovernanceError
from governance.model.canonical import parse
from governance.model.dataset import Manifest
from governance.model.evidence import Stage
from governance.pipeline.local import local_recorder
from governance.pipeline.pointer import POINTER, released_manifest
from governance.pipeline.run import PassResult, open_pass, run_pass
from governance.pipeline.step import RunContext, RunReference, resume
from governance.pipeline.workspace import Workspace

DATASETS = ("clinical_encounters", "customer_profiles", "support_prompts")
SOURCES = {
    "clinical_encounters": "clinical_encounters",
    "customer_profiles": "customers.csv",
    "support_prompts": "support_conversations.jsonl.gz",
}
PURPOSES = {
    "clinical_encounters": "model_training",
    "customer_profiles": "model_training",
    "support_prompts": "support_inference",
}
_run_numbers = itertools.count(1)


@dataclass(frozen=True)
class Home:
    """One governance home. Each workspace is opened anew, as another process would."""

    path: Path

    @classmethod
    def copied(cls, source: Path, target: Path) -> Home:
        shutil.copytree(source, target)
        return cls(target)

    @property
    def settings(self) -> Settings:
        return demo_settings(self.path)

    def workspace(self) -> Workspace:
        return Workspace.open(self.settings)

    def contract(self, dataset: str) -> Path:
        return self.path / "contracts" / f"{dataset}.odcs.yaml"

    def source(self, dataset: str) -> Path:
        return self.path / "input" / SOURCES[dataset]

    def root(self, dataset: str) -> Path:
        return self.path / "datasets" / dataset

    def run(self, dataset: str, *, workspace: Workspace | None = None, **changed: Any) -> PassResult:
        opened, arguments = self._arguments(dataset, workspace, changed)
        return run_pass(opened, local_recorder(opened, dataset, arguments["run_id"]), **arguments)

    def open(self, dataset: str, *, workspace: Workspace | None = None, **changed: Any) -> RunContext:
        """Open a run and stop there."""
        opened, arguments = self._arguments(dataset, workspace, changed)
        recorder = local_recorder(opened, dataset, arguments["run_id"])
        return resume(opened, open_pass(opened, recorder, **arguments), recorder)

    def again(self, context: RunContext) -> RunContext:
        """The same attempt in another process: an Airflow task, or its retry."""
        return self.resumed(context.reference)

    def resumed(self, reference: RunReference) -> RunContext:
        workspace = self.workspace()
        return resume(workspace, reference, local_recorder(workspace, reference.dataset, "resumed"))

    def _arguments(
        self, dataset: str, workspace: Workspace | None, changed: dict[str, Any]
    ) -> tuple[Workspace, dict[str, Any]]:
        arguments = {
            "contract_path": self.contract(dataset),
            "source": str(self.source(dataset)),
            "purpose": PURPOSES[dataset],
            "run_id": f"run-{next(_run_numbers)}",
            **changed,
        }
        arguments["source"] = str(arguments["source"])
        return workspace or self.workspace(), arguments

    def rows(self, dataset: str) -> pa.Table:
        """The released rows as a governed reader gets them."""
        return pa.Table.from_batches(
            read_released(self.workspace(), dataset, purpose=PURPOSES[dataset]), schema=None
        )

    def manifest(self, dataset: str, version: str | None = None) -> Manifest:
        return released_manifest(self.workspace(), dataset, version)

    def pointer(self, dataset: str) -> bytes | None:
        path = self.root(dataset) / POINTER
        return path.read_bytes() if path.exists() else None

    def events(self) -> list[dict[str, Any]]:
        """Every OpenLineage event of the log, with its ``index`` and ``principal``."""
        return [
            {**parse(entry.body or b"{}"), "index": entry.index, "principal": entry.envelope.principal}
            for entry in self.workspace().log.entries()
            if "openlineage" in entry.envelope.media_type
        ]

    def evidence(self, stage: Stage, dataset: str | None = None) -> list[dict[str, Any]]:
        """The facets of one stage in log order."""
        facets = [e["run"]["facets"].get(f"governance_{stage}") for e in self.events()]
        return [f for f in facets if f and dataset in (None, f["context"]["dataset"])]

    def cli(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """``governance …`` in this process: exit code, standard output, standard error."""
        from governance.cli import main

        out, err = io.StringIO(), io.StringIO()
        own = {**self.settings.environment(), **environment}
        with (
            mock.patch.object(sys, "argv", ["governance", *map(str, arguments)]),
            mock.patch.dict(os.environ, own),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def refused(*codes: str, free_of: tuple[str, ...] = ()) -> Iterator[list[GovernanceError]]:
    """The block is refused with one of ``codes``, and nothing that is shown quotes any of ``free_of``."""
    caught: list[GovernanceError] = []
    try:
        yield caught
    except GovernanceError as fault:
        caught.append(fault)
        assert fault.code in codes, f"{fault.code} instead of {codes}: {fault.message}"
        shown = shown_by(fault)
        assert not [value for value in free_of if value in shown]
    else:
        raise AssertionError(f"nothing was refused, expected {codes}")


def shown_by(fault: BaseException) -> str:
    """All that a traceback of ``fault`` prints, chained exceptions included."""
    import traceback

    return "".join(traceback.format_exception(fault)) + repr(fault)


def edited(path: Path, change: Callable[[str], str]) -> Path:
    """Rewrite a text file; the change must change something."""
    before = path.read_text("utf-8")
    after = change(before)
    assert after != before
    path.write_text(after, "utf-8")
    return path
