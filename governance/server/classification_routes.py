"""`/api/v1/classifications`: what columns hold along lineage and why, and people's corrections."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from governance.errors import AccessError
from governance.lineage.classifications.answers import explained, said
from governance.lineage.classifications.correcting import LONGEST_AUTHOR, LONGEST_REASON, drawn_up, leaf_of
from governance.lineage.classifications.corrections import corrections_in
from governance.lineage.classifications.propagation import Classifications
from governance.lineage.classifications.sensitivity_levels import Levels
from governance.lineage.graph.adjacency import Ids
from governance.lineage.graph.graph import UPSTREAM, View
from governance.lineage.graph.node_names import DATASET, FIELD, NodeName
from governance.log import NewEntry
from governance.model.canonical import timestamp
from governance.server.access import allow, caller_of
from governance.server.answers import REFUSALS
from governance.server.asked import AsOf, bounded
from governance.server.marquez.asking import answer, malformed, unknown
from governance.server.served import ServedStore
from governance.server.tokens import Caller

Name = Annotated[str, Field(min_length=1, max_length=4_096)]


class NewCorrection(BaseModel):
    """What a column holds, whatever was found in it."""

    model_config = ConfigDict(extra="forbid")

    namespace: Name
    dataset: Name = Field(description="A name; with a * at its end every one that begins so.")
    column: Name
    classification: str | None = Field(
        max_length=200, description="A classification or `none`; null withdraws what was corrected before."
    )
    by: str = Field(min_length=1, max_length=LONGEST_AUTHOR, description="Who decided: a role or a staff id.")
    because: str = Field("", max_length=LONGEST_REASON, description="Why; needed to lower a sensitivity.")
    version: Name | None = Field(None, description="Only this one.")


def reader(request: Request) -> Caller:
    """A caller who may read everything: what a column holds may have come from any namespace."""
    return _of_everything(allow("read")(request))


def corrector(request: Request) -> Caller:
    """A caller who may correct classifications."""
    caller = caller_of(request)
    if caller.scopes.isdisjoint(("admin", "rights")):
        raise AccessError(
            "GOV-611",
            "the token has neither scope admin nor rights",
            "use a token with one of them; `governance token create --scopes …` makes one",
        )
    return _of_everything(caller)


def _of_everything(caller: Caller) -> Caller:
    if caller.namespaces is not None:
        raise AccessError(
            "GOV-611",
            "classifications come from all namespaces and the token sees some",
            "use a token that was made without --namespace",
        )
    return caller


class _Settled:
    """What was settled last, for as long as it holds."""

    def __init__(self, served: ServedStore) -> None:
        self._served = served
        self._settling = threading.Lock()
        self._known: Classifications | None = None

    def at(self, as_of: int | None) -> tuple[Classifications, Levels]:
        index = self._served.fresh()
        size = bounded(index, as_of)
        with self._settling:
            if self._known is None or not self._known.still_holds(index, size):
                self._known = Classifications.of(index, size)
            known = self._known
        return known, Levels.at(index, self._served.log, size)


def router(served: ServedStore) -> APIRouter:
    """The routes, below ``/api/v1``."""
    routes = APIRouter(prefix="/api/v1/classifications", tags=["classifications"], responses=REFUSALS)
    settled = _Settled(served)

    @routes.get("")
    def explain(
        _: Annotated[Caller, Depends(reader)],
        nodeId: Annotated[str, Query(min_length=1, max_length=4_096)],  # noqa: N803 - the API's name
        as_of: AsOf = None,
    ) -> Response:
        """What a dataset's columns, or one column, hold: where each classification comes from, what stopped it."""
        known, levels = settled.at(as_of)
        view = served.graph().view(as_of)
        named, sources = _asked(known, view, nodeId)
        column = named.field if named.kind == FIELD else None
        found = explained(served.index, known, levels, named.namespace, named.name, column, sources)
        return answer(found | {"as_of": bounded(served.index, as_of)})

    @routes.get("/corrections")
    def listed(_: Annotated[Caller, Depends(reader)], as_of: AsOf = None) -> Response:
        """Every correction in the log, oldest first; the newest of a column counts."""
        size = bounded(served.fresh(), as_of)
        return answer({"corrections": [said(each) for each in corrections_in(served.log, size)]})

    @routes.post("/corrections", status_code=201)
    def correct(
        caller: Annotated[Caller, Depends(corrector)], wanted: Annotated[NewCorrection, Body()]
    ) -> dict[str, Any]:
        """Record a correction. It counts once this is answered."""
        known, levels = settled.at(None)
        correction = drawn_up(
            known,
            levels,
            namespace=wanted.namespace,
            name=wanted.dataset,
            column=wanted.column,
            to=wanted.classification,
            by=wanted.by,
            because=wanted.because,
            at=timestamp(served.clock()),
            version=wanted.version,
        )
        principal = caller.principal("admin" if "admin" in caller.scopes else "rights")
        [index] = served.group.submit([NewEntry(*leaf_of(correction, principal))]).result()
        return correction.to_json() | {"principal": principal, "log_index": index}

    return routes


def _asked(known: Classifications, view: View, node_id: str) -> tuple[NodeName, list[tuple[str, str]]]:
    """The dataset or column of a node id, and the datasets that the dataset was made from."""
    if not node_id.startswith((f"{DATASET}:", f"{FIELD}:")):
        raise malformed(
            "the nodeId names neither a dataset nor a column",
            "use dataset:NAMESPACE:NAME or datasetField:NAMESPACE:NAME:FIELD",
        )
    if node_id.startswith(f"{FIELD}:"):
        number = known.flow.names.find(node_id)
        if number is None:
            raise unknown("column")
        named = known.flow.names.name(number)
        node = view.node(DATASET, named.namespace, named.name)
    else:
        node = view.find(node_id)
        if node is None:
            raise unknown("dataset")
        named = view.names.name(node)
    if node is None:
        return named, []
    near: Ids = view.closure(node, UPSTREAM, 1, jobs=False)[0][1:]
    return named, [(each.namespace, each.name) for each in view.names.names(near)]
