"""Pages for people: a privacy officer, an auditor, an operator. Below ``/pages``, drawn by the server.

A module answers for one area; :mod:`governance.server.pages.frame` holds what all share: links, headers, errors.
"""

from __future__ import annotations

from fastapi import APIRouter

from governance.server.pages import airflow, datasets, jobs, listed, log, picture, sign_in
from governance.server.pages.frame import STATIC, PageRoute
from governance.server.served import ServedStore

_AREAS = (sign_in, listed, datasets, jobs, picture, log, airflow)


def router(served: ServedStore) -> APIRouter:
    """All pages and the files they load."""
    pages = APIRouter(prefix="/pages", include_in_schema=False, route_class=PageRoute)
    for area in _AREAS:
        pages.include_router(area.router(served))
    pages.add_api_route("/static/{name}", STATIC, methods=["GET"])
    return pages
