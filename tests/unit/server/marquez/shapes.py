"""Members that Marquez's web UI reads (0.51, ``web/src/types``), as JSON Schemas of our own."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT = {"type": "string"}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
COUNT = {"type": "integer", "minimum": 0}
OBJECT = {"type": "object"}
TEXTS = {"type": "array", "items": TEXT}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def listed(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def members(**of: Schema) -> Schema:
    return {"type": "object", "required": list(of), "properties": of}


ID = members(namespace=TEXT, name=TEXT)
VERSION_ID = members(namespace=TEXT, name=TEXT, version=maybe(TEXT))
FIELD = members(name=TEXT, type=maybe(TEXT), tags=TEXTS, description=TEXT)
STATE = {"enum": ["NEW", "RUNNING", "COMPLETED", "FAILED", "ABORTED"]}
TYPE = {"enum": ["DB_TABLE", "STREAM"]}
TAG = members(name=TEXT, description=TEXT)
RUN_VERSION = members(datasetVersionId=VERSION_ID, facets=OBJECT)

_RUN = {
    "id": TEXT,
    "createdAt": TIME,
    "updatedAt": TIME,
    "nominalStartTime": maybe(TIME),
    "nominalEndTime": maybe(TIME),
    "state": STATE,
    "jobVersion": VERSION_ID,
    "startedAt": maybe(TIME),
    "endedAt": maybe(TIME),
    "durationMs": maybe({"type": "integer"}),
    "args": OBJECT,
}
RUN = members(
    **_RUN,
    facets=OBJECT,
    inputDatasetVersions=listed(RUN_VERSION),
    outputDatasetVersions=listed(RUN_VERSION),
)
JOB = members(
    id=ID,
    type={"enum": ["BATCH", "STREAM", "SERVICE"]},
    name=TEXT,
    simpleName=TEXT,
    parentJobName=maybe(TEXT),
    parentJobUuid=maybe(TEXT),
    createdAt=TIME,
    updatedAt=TIME,
    inputs=listed(ID),
    outputs=listed(ID),
    namespace=TEXT,
    location=maybe(TEXT),
    description=maybe(TEXT),
    latestRun=maybe(RUN),
    latestRuns=listed(members(**_RUN)),  # the UI draws their states and times
    facets=OBJECT,
    tags=TEXTS,
)
INPUT_FIELD = members(
    namespace=TEXT,
    dataset=TEXT,
    field=TEXT,
    transformationDescription=maybe(TEXT),
    transformationType=maybe(TEXT),
)
INPUT_FIELDS = members(
    name=TEXT,
    inputFields=listed(INPUT_FIELD),
    transformationDescription=maybe(TEXT),
    transformationType=maybe(TEXT),
)
_DATASET = {
    "type": TYPE,
    "name": TEXT,
    "physicalName": TEXT,
    "createdAt": TIME,
    "namespace": TEXT,
    "sourceName": TEXT,
    "fields": listed(FIELD),
    "tags": TEXTS,
    "lastModifiedAt": maybe(TIME),
    "description": maybe(TEXT),
    "facets": OBJECT,
}
DATASET = members(
    **_DATASET, id=ID, updatedAt=TIME, deleted={"type": "boolean"}, columnLineage=maybe(listed(INPUT_FIELDS))
)
DATASET_VERSION = members(
    **_DATASET, id=VERSION_ID, createdByRun=maybe(RUN), version=TEXT, lifecycleState=maybe(TEXT)
)
NAMESPACE = members(
    name=TEXT,
    createdAt=TIME,
    updatedAt=TIME,
    ownerName=TEXT,
    description=maybe(TEXT),
    isHidden={"type": "boolean"},
)
EVENT = members(
    eventType=maybe(TEXT),
    eventTime=TEXT,
    producer=TEXT,
    schemaURL=TEXT,
    run=members(runId=TEXT, facets=OBJECT),
    job=members(name=TEXT, namespace=TEXT, facets=OBJECT),
    inputs=listed(ID),
    outputs=listed(ID),
)
RESULT = members(name=TEXT, namespace=TEXT, nodeId=TEXT, type={"enum": ["JOB", "DATASET"]}, updatedAt=TIME)
HIT = members(name=TEXT, namespace=TEXT, run_id=maybe(TEXT), eventType=maybe(TEXT), facets=OBJECT)
HITS = members(hits=listed(HIT), highlights=listed(OBJECT))
INTERVAL = members(startInterval=TIME, endInterval=TIME, count=COUNT)
LINEAGE_INTERVAL = members(
    startInterval=TIME, endInterval=TIME, fail=COUNT, start=COUNT, complete=COUNT, abort=COUNT
)
EDGE = members(origin=TEXT, destination=TEXT)
NODE = members(id=TEXT, type=TEXT, data=OBJECT, inEdges=listed(EDGE), outEdges=listed(EDGE))
GRAPH = members(graph={"type": "array", "minItems": 1, "items": NODE})
FACETS = members(runId=TEXT, facets=OBJECT)


def page(of: str, schema: Schema) -> Schema:
    """A list that is not empty, with its total."""
    return members(**{of: {"type": "array", "minItems": 1, "items": schema}, "totalCount": COUNT})
