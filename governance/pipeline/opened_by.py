"""Which release of this package opened a run: every stage of a run is the work of one."""

from __future__ import annotations

from importlib.metadata import version as installed

from governance.errors import StorageError
from governance.model.canonical import parse
from governance.model.evidence import Stage
from governance.pipeline.step import RunReference
from governance.pipeline.workspace import Workspace


def require_same_package(workspace: Workspace, reference: RunReference) -> None:
    """Refuse a run that a worker with another release of this package opened, before anything of it is read.

    Its files may mean something else there, and its evidence names the release that opened it.

    Raises:
        StorageError: GOV-742.
    """
    path = f"{reference.folder}/{Stage.OPEN}.json"
    storage = workspace.dataset_storage(reference.dataset)
    if not storage.exists(path):
        return  # That there is no opened run is for whoever resumes it to say.
    opened = parse(storage.read(path))["facts"]["engine"]["governance"]
    here = installed("airflow-governance")
    if opened != here:
        raise StorageError(
            "GOV-742",
            f"version {reference.version} of {reference.dataset} was opened by airflow-governance {opened}, "
            f"this worker has {here}",
            "install one release on all workers; in Airflow, clear the run's tasks from open on",
        )
