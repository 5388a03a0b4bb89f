"""A seed like the one Marquez ships: a food delivery's jobs, each with a START and a later COMPLETE.

As there, the START names inputs, outputs and all facets; the COMPLETE says nothing but that the run ended.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

NAMESPACE = "food_delivery"
PRODUCER = "https://example.com/seed"
_FACETS = "https://openlineage.io/spec/facets/1-0-0"
_START = datetime.fromisoformat("2020-02-22T22:42:42+00:00")
_COLUMNS = ("id", "name", "address", "placed_on")

TABLES = ("menus", "categories", "menu_items", "orders", "customers", "drivers", "restaurants")
JOBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **{f"etl_{table}": ((), (table,)) for table in TABLES},
    "etl_orders_7_days": (("menus", "menu_items", "orders", "categories"), ("orders_7_days",)),
    "etl_delivery_7_days": (("orders_7_days", "customers", "drivers", "restaurants"), ("delivery_7_days",)),
    "delivery_times_7_days": (("delivery_7_days",), ("top_delivery_times",)),
    "discounts": (("customers", "orders_7_days"), ("discounts",)),
    "orders_popular_day_of_week": (("customers", "orders_7_days"), ("popular_orders_day_of_week",)),
}
"""Jobs with what they read and write."""

FAILED = "discounts"


def run_of(job: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"seed:{job}"))


def table(name: str) -> str:
    return f"public.{name}"


def events() -> list[dict[str, Any]]:
    """Two events for each job, in order."""
    return [event for job in JOBS for event in (_started(job), _ended(job))]


def _facet(name: str, **said: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{_FACETS}/{name}.json", **said}


def _event(job: str, kind: str, at: datetime) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "run": {"runId": run_of(job)},
        "job": {"namespace": NAMESPACE, "name": job},
        "producer": PRODUCER,
    }


def _started(job: str) -> dict[str, Any]:
    inputs, outputs = JOBS[job]
    event = _event(job, "START", _START)
    event["job"]["facets"] = {
        "sql": _facet("SQLJobFacet", query=f"INSERT INTO {outputs[0]} SELECT * FROM tmp;"),
        "documentation": _facet("DocumentationJobFacet", description=f"Loads {outputs[0]}."),
    }
    event["inputs"] = [{"namespace": NAMESPACE, "name": table(name)} for name in inputs]
    fields = [{"name": c, "type": "VARCHAR", "description": f"The {c}.", "tags": []} for c in _COLUMNS]
    event["outputs"] = [
        {
            "namespace": NAMESPACE,
            "name": table(name),
            "facets": {"schema": _facet("SchemaDatasetFacet", fields=fields)},
        }
        for name in outputs
    ]
    return event


def _ended(job: str) -> dict[str, Any]:
    return _event(job, "FAIL" if job == FAILED else "COMPLETE", _START + timedelta(seconds=190))
