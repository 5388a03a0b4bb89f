"""``@task.governed``: an engineer's own function between governed inputs and outputs that pass the stages.

    @task.governed(purpose="model_training", inputs=["clinical_encounters"], outputs=["stays"])
    def stays(clinical_encounters: pa.RecordBatchReader) -> pa.Table: ...

    governed_dataset("stays.odcs.yaml", purpose="model_training", source=stays())

Each input comes as a ``pyarrow.RecordBatchReader`` under its name: what the stages released, for this purpose,
without who withdrew or was erased since; the read is logged. What the function returns is sealed at once and
handed on as a reference that ``governed_dataset`` opens; of a mapped task, it opens what all instances returned.
No row goes through Airflow.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from governance.airflow.group import dataset_asset
from governance.airflow.operators import GovernedOperator
from governance.model.statements import TRAINED

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import Context

    from governance.lineage.recorder import OpenLineageRecorder
    from governance.model.dataset import Manifest
    from governance.pipeline.workspace import Workspace

MODELS = "models/"
"""An output ``models/NAME`` is a model: the function returns the path of its file."""


def model_asset(name: str) -> Asset:
    """The asset of a model trained on governed datasets."""
    return Asset(name=f"models/{name}", uri=f"gov://governance/models/{name}")


class GovernedTaskOperator(DecoratedOperator, GovernedOperator):  # type: ignore[misc]
    """What ``@task.governed`` makes of a function.

    Args:
        purpose: a purpose of the policy that every input was released for.
        inputs: governed datasets; each is a parameter of the function.
        outputs: datasets that a later ``governed_dataset`` governs, or ``models/NAME``. With several the
            function returns a mapping by name.
        columns: what each input is asked for; all columns where it is not named.
        lineage: output column → ``DATASET.COLUMN`` names it comes from.
        sql: the query the function runs, from which lineage is read instead, where ``openlineage-sql`` is there.
    """

    custom_operator_name = "@task.governed"
    template_fields: Sequence[str] = ("op_args", "op_kwargs", "purpose")
    ui_color = "#e0e7ff"

    _edges: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        purpose: str,
        inputs: Collection[str] = (),
        outputs: Collection[str] = (),
        columns: Mapping[str, Sequence[str]] | None = None,
        lineage: Mapping[str, Sequence[str]] | None = None,
        sql: str | None = None,
        op_args: Collection[Any] = (),
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs |= _declared(inputs, outputs, kwargs)
        kwargs.pop("multiple_outputs", None)
        # Stand-ins, so that the function's signature is checked when the file is parsed.
        given = {**dict.fromkeys(inputs), **(op_kwargs or {})}
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=given, **kwargs)
        # So that Airflow hands each on by its name: `source=made["NAME"]`.
        self.multiple_outputs = len(outputs) > 1
        self.purpose = purpose
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.columns = dict(columns or {})
        self.lineage = dict(lineage or {})
        self.sql = sql

    def execute(self, context: Context) -> Any:
        return GovernedOperator.execute(self, context)

    def step(self, workspace: Workspace, _recorder: OpenLineageRecorder, context: Context) -> Any:
        """The reference of the landed rows; a mapping by output name where there are several.

        Raises:
            AccessError: GOV-602, GOV-603 for an input. ContractError: GOV-648 when the function did not return
                what it declared. What :func:`governance.pipeline.landing.land` raises. GOV-999 in place of an
                exception of the function, whose text may quote a row.
        """
        from governance.access import released_reader
        from governance.config import debugging
        from governance.errors import GovernanceError

        read: dict[str, Manifest] = {}
        given = dict(self.op_kwargs)
        for name in self.inputs:
            read[name], given[name] = released_reader(
                workspace, name, purpose=self.purpose, columns=self.columns.get(name)
            )
        wanted = self.determine_kwargs({**context, **given})
        try:
            returned = self.python_callable(*self.op_args, **wanted)
            landed = self._landed(workspace, returned, read, context)
        except GovernanceError:
            raise
        except Exception as cause:
            if debugging():
                raise
            fault = _withheld(self.python_callable, cause)
        else:
            self._note(read, landed)
            kept = {name: reference for name, (reference, _) in landed.items()}
            return kept[self.outputs[0]] if len(self.outputs) == 1 else kept or None
        raise fault

    def _landed(
        self, workspace: Workspace, returned: Any, read: Mapping[str, Manifest], context: Context
    ) -> dict[str, tuple[str, list[tuple[str, str]]]]:
        """By output its reference and its columns with their types."""
        from governance.pipeline.landing import land

        if len(self.outputs) == 1:
            returned = {self.outputs[0]: returned}
        if self.outputs and (not isinstance(returned, Mapping) or set(returned) != set(self.outputs)):
            raise _undeclared(self, "one value for each of its outputs")
        inputs = [
            {"dataset": name, "version": manifest.version, "manifest_digest": manifest.digest}
            for name, manifest in read.items()
        ]
        landed: dict[str, tuple[str, list[tuple[str, str]]]] = {}
        for name in self.outputs:
            if name.startswith(MODELS):
                landed[name] = (self._model(workspace, name, returned[name], inputs, context), [])
            else:
                rows = _reader(self, returned[name])
                fields = [(field.name, str(field.type)) for field in rows.schema]
                landed[name] = (land(workspace, name, rows, purpose=self.purpose, inputs=inputs), fields)
        return landed

    def _model(
        self,
        workspace: Workspace,
        name: str,
        path: Any,
        inputs: Sequence[Mapping[str, str]],
        context: Context,
    ) -> str:
        """Record which versions a model was trained on; returns its digest."""
        from governance.pipeline.workspace import PIPELINE

        if not isinstance(path, str | Path) or not Path(path).is_file():
            raise _undeclared(self, f"the path of the file of {name}")
        with Path(path).open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        said = {"model": name.removeprefix(MODELS), "digest": digest, "purpose": self.purpose}
        index = workspace.append_json({**said, "inputs": list(inputs)}, TRAINED, PIPELINE)
        asset = model_asset(name.removeprefix(MODELS))
        context["outlet_events"][asset].extra = {**said, "inputs": list(inputs), "log_index": index}
        return digest

    def _note(
        self,
        read: Mapping[str, Manifest],
        landed: Mapping[str, tuple[str, list[tuple[str, str]]]],
    ) -> None:
        """For the provider's COMPLETE event: what was read and what was made."""
        from governance.airflow.declared_lineage import column_edges, lineage_of

        self._edges = column_edges(self.lineage, self.sql, read)
        if self._recorder is not None:
            self._recorder.last = lineage_of(read, landed)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Inputs, outputs and which column came from which."""
        from governance.airflow.declared_lineage import column_facet

        lineage = super().get_openlineage_facets_on_complete(task_instance)
        for output in lineage.outputs:
            facet = column_facet(output, self._edges)
            if facet is not None:
                output.facets["columnLineage"] = facet
        return lineage


def governed_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """``@task.governed(purpose=…, inputs=[…], outputs=[…])``; see :class:`GovernedTaskOperator`."""
    kwargs.pop("multiple_outputs", None)
    # Of a mapped task Airflow and the cluster policy see what stands here, before any instance is made.
    kwargs |= _declared(kwargs.get("inputs", ()), kwargs.get("outputs", ()), kwargs)
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=False,
        decorated_operator_class=GovernedTaskOperator,
        **kwargs,
    )


def _declared(
    inputs: Collection[str], outputs: Collection[str], given: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Inlets and outlets with the assets of governed inputs and of models, each once."""
    models = [model_asset(name.removeprefix(MODELS)) for name in outputs if name.startswith(MODELS)]
    found = {}
    for kind, own in (("inlets", [dataset_asset(name) for name in inputs]), ("outlets", models)):
        before = list(given.get(kind) or ())
        found[kind] = [*before, *(asset for asset in own if asset not in before)]
    return found


def _reader(task: GovernedTaskOperator, rows: Any) -> pa.RecordBatchReader:
    import pyarrow as pa

    if isinstance(rows, pa.RecordBatchReader):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(rows.schema, [rows])
    if isinstance(rows, pa.Table):
        return rows.to_reader()
    raise _undeclared(task, "rows as a pyarrow Table, RecordBatch or RecordBatchReader")


def _undeclared(task: GovernedTaskOperator, what: str) -> Exception:
    from governance.errors import ContractError

    return ContractError(
        "GOV-648",
        f"the function of {task.task_id} did not return {what}",
        "return what `outputs` declares: rows for a dataset, the path of its file for a model",
    )


def _withheld(function: Callable[..., Any], cause: Exception) -> Exception:
    """A fault of the engineer's function by type and line; its text may quote a row, and task logs are read by many."""
    from governance.errors import GovernanceError

    own = getattr(getattr(function, "__code__", None), "co_filename", "")
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if frame.filename == own]
    where = f" at {Path(own).name}:{frames[-1].lineno}" if frames else ""
    return GovernanceError(
        "GOV-999",
        f"{type(cause).__name__} in {getattr(function, '__name__', 'the function')}{where}",
        "run it with governance.airflow.testing on rows of your own and GOVERNANCE_DEBUG=1 to see its text",
    )
