"""What Airflow shows: lineage in the menu, a DAG's and a run's evidence beside them."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk.plugins_manager import AirflowPlugin


class GovernancePlugin(AirflowPlugin):  # type: ignore[misc]
    """The lineage server's pages as views; parsing a DAG loads none of them."""

    name = "governance"
    external_views: ClassVar[list[dict[str, str]]] = [
        {
            "name": "Governance",
            "href": "/governance/",
            "destination": "nav",
            "url_route": "governance",
            "category": "browse",
        },
        {
            "name": "Lineage",
            "href": "/governance/airflow/{DAG_ID}",
            "destination": "dag",
            "url_route": "governance_dag",
        },
        {
            "name": "Evidence",
            "href": "/governance/airflow/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "governance_run",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The pages' sub-application; a property, so that only the API server loads FastAPI."""
        from governance.airflow.lineage_pages import PREFIX, build_pages_app

        return [{"app": build_pages_app(), "url_prefix": PREFIX, "name": "governance"}]
