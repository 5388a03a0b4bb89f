"""Pages for people: a privacy officer, an auditor, an operator. Below ``/pages``, drawn by the server.

A module answers for one area; :mod:`governance.server.pages.frame` holds what all share: links, headers, errors.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from governance.server.pages import airflow, datasets, jobs, listed, log, picture, reports, sign_in
from governance.server.pages.frame import STATIC, page_routes
from governance.server.served import ServedStore

_AREAS = (sign_in, listed, datasets, jobs, picture, log, reports, airflow)


def routes(served: ServedStore) -> list[BaseRoute]:
    """All pages and the files they load."""
    static = page_routes()
    static.add_api_route("/static/{name}", STATIC, methods=["GET"])
    return [*(route for area in _AREAS for route in area.router(served).routes), *static.routes]
