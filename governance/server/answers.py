"""What a refusal looks like over HTTP: a status, and JSON with the GOV code."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance.errors import GovernanceError

STATUS: Mapping[str, int] = {
    "GOV-101": 503,
    "GOV-106": 503,
    "GOV-118": 400,
    "GOV-203": 404,
    "GOV-303": 410,
    "GOV-304": 400,
    "GOV-309": 503,
    "GOV-310": 403,
    "GOV-501": 503,
    "GOV-504": 404,
    "GOV-505": 409,
    "GOV-506": 400,
    "GOV-508": 400,
    "GOV-510": 503,
    "GOV-607": 400,
    "GOV-525": 503,
    "GOV-610": 401,
    "GOV-611": 403,
    "GOV-612": 404,
    "GOV-613": 400,
    "GOV-614": 413,
    "GOV-615": 415,
    "GOV-616": 410,
    "GOV-617": 405,
    "GOV-801": 400,
    "GOV-804": 400,
    "GOV-902": 501,
}
"""What is not here is a fault of ours: 500."""

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The question or the event is malformed; `error` says why, and what to do."},
    401: {"description": "No valid token."},
    403: {"description": "The token's scopes or namespaces do not allow it."},
    404: {"description": "The store knows no such thing."},
    503: {"description": "Overload, or the store does not answer: ask again after Retry-After seconds."},
}
"""What every route may answer besides its own, for OpenAPI."""

UNEXPECTED = {
    "code": "GOV-999",
    "message": "an unexpected fault",
    "remedy": "report it with the time it happened",
}

_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 405: {"Allow": "GET"}, 503: {"Retry-After": "1"}}


def refusal(fault: GovernanceError) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a fault raised on purpose."""
    status = STATUS.get(fault.code, 500)
    error = {"code": fault.code, "message": fault.message, "remedy": fault.remedy}
    return status, dict(_HEADERS.get(status, {})), json.dumps({"error": error}).encode()


def unexpected() -> tuple[int, dict[str, str], bytes]:
    """What is answered to a fault of ours."""
    return 500, {}, json.dumps({"error": UNEXPECTED}).encode()


def named_fault(fault: BaseException) -> str:
    """An unexpected fault's type and place in this package, without its text: that may quote data."""
    frames = [frame for frame in traceback.extract_tb(fault.__traceback__) if "governance" in frame.filename]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(fault).__name__}{place}"
