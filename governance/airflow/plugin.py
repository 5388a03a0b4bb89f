"""What Airflow shows of governance: a home page in the menu, a tab on a DAG, its runs and their tasks."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.sdk.plugins_manager import AirflowPlugin

from governance.airflow import listener

# The UI frames what a view names as it stands: behind a base URL the address holds that URL's path.
_ROOT = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + "/governance"


def _tab(destination: str, path: str) -> dict[str, str]:
    route = f"governance_{destination}"
    href = f"{_ROOT}/{path}"
    return {"name": "Governance", "href": href, "destination": destination, "url_route": route}


class GovernancePlugin(AirflowPlugin):  # type: ignore[misc]
    """The lineage server's pages as views; parsing a DAG loads none of them."""

    name = "governance"
    listeners: ClassVar[list[Any]] = [listener]
    external_views: ClassVar[list[dict[str, str]]] = [
        {
            "name": "Governance",
            "href": f"{_ROOT}/",
            "destination": "nav",
            "url_route": "governance",
            "category": "browse",
        },
        _tab("dag", "airflow/{DAG_ID}"),
        _tab("dag_run", "airflow/{DAG_ID}/{RUN_ID}"),
        _tab("task_instance", "airflow-task/{DAG_ID}/{TASK_ID}/{MAP_INDEX}/{RUN_ID}"),
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The pages' sub-application; a property, so that only the API server loads FastAPI."""
        from governance.airflow.connections import export_settings
        from governance.airflow.lineage_pages import PREFIX, build_pages_app

        export_settings(connections=False)
        return [{"app": build_pages_app(), "url_prefix": PREFIX, "name": "governance"}]
