"""`/tlog`: the log as C2SP tlog-tiles, for monitors and witnesses. Source: https://c2sp.org/tlog-tiles."""

from __future__ import annotations

from fastapi import APIRouter, Response

from governance.errors import AccessError
from governance.log.tiles import Resource, entries_bundle, tile
from governance.server.answers import REFUSALS
from governance.server.asked import Auditor
from governance.server.served import ServedStore

_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}


def router(served: ServedStore) -> APIRouter:
    """The tiles. They need the scope `audit`: envelopes name who sent what and when."""
    routes = APIRouter(prefix="/tlog", tags=["tlog"], responses=REFUSALS)

    @routes.get("/checkpoint", response_class=Response)
    def checkpoint(_: Auditor) -> Response:
        """The newest signed checkpoint, as a signed note."""
        latest = served.log.latest()
        if latest is None:
            raise _nothing("the log has no signed checkpoint")
        return Response(latest.note, media_type="text/plain; charset=utf-8")

    @routes.get("/tile/{path:path}", response_class=Response)
    def tiles(path: str, _: Auditor) -> Response:
        """A tile `LEVEL/INDEX[.p/WIDTH]` or an entry bundle `entries/INDEX[.p/WIDTH]`."""
        wanted = Resource.parse(f"tile/{path}")
        # A tile beyond any log would ask the store for numbers it cannot hold.
        if wanted is None or wanted.index >= 2**48:
            raise _nothing("this is no tile's path")
        if wanted.level is None:
            data = entries_bundle(served.log.storage, wanted.index, wanted.width)
        else:
            data = tile(served.log.storage, wanted.level, wanted.index, wanted.width)
        return Response(data, headers=_FOREVER, media_type="application/octet-stream")

    return routes


def _nothing(what: str) -> AccessError:
    return AccessError("GOV-612", what, "see https://c2sp.org/tlog-tiles for what there is")
