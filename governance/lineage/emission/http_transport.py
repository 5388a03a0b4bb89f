"""The lineage service, or any OpenLineage consumer over HTTP, as a destination.

``POST {url}/api/v1/lineage/batch`` and ``POST {url}/api/v1/lineage`` as in OpenLineage's ``OpenLineage.yml``.
A service without the batch endpoint gets single events. What is no answer of such a service (an
HTML page with status 200, a redirect, broken JSON) acknowledges nothing.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3

from governance.lineage.emission.destination import REDACTED, Outcome, Refusal, Unavailable
from governance.lineage.emission.framing import Event

SINGLE = "/api/v1/lineage"
BATCH = "/api/v1/lineage/batch"

_TAKEN = frozenset({200, 201, 202, 204})
_NO_BATCH = frozenset({404, 405, 501})
_REFUSED = frozenset({400, 409, 410, 413, 415, 422})
_ALONE = frozenset({403, 500})
"""Statuses that may be one event's own: a namespace its token may not write, a fault it sets off."""
_APART = _NO_BATCH | _REFUSED | _ALONE
_HOPELESS = 10
_LONGEST_ANSWER = 16 << 20


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is and how to speak to it.

    ``url`` may have a path; ``bearer`` gives the value of the Authorization header at each request;
    timeouts in seconds, ``read_timeout`` also bounds reading one answer; ``verify`` is true or a CA file.
    """

    url: str
    bearer: Callable[[], str | None] = field(repr=False)
    connect_timeout: float
    read_timeout: float
    verify: bool | str = True
    compress: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content: bytes
    content_type: str
    retry_after: float | None


class ServiceDestination:
    """Sends events over one kept connection. For one thread and process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._url = service.url.rstrip("/")
        self._session = requests.Session()
        self._batches = True

    def send(self, events: Sequence[Event]) -> Outcome:
        if len(events) > 1 and self._batches:
            answer = self._post(BATCH, b"[" + b",".join(event.body for event in events) + b"]")
            if answer.status in {201, 204}:
                return Outcome()
            if answer.status == 200 and (outcome := _batch_outcome(answer, len(events))) is not None:
                if not outcome.again:
                    return outcome
                return self._retried(events, outcome)
            if answer.status in _NO_BATCH:
                self._batches = False
            elif answer.status not in _APART and answer.status != 200:
                raise self._unavailable(answer)
        return self._one_by_one(events)

    def _retried(self, events: Sequence[Event], outcome: Outcome) -> Outcome:
        """Once more for those that the service calls worth it: alone, each gets a verdict of its own."""
        second = self._one_by_one(
            [events[n] for n in outcome.again], hopeful=len(events) > len(outcome.again)
        )
        refused = [Refusal(outcome.again[r.position], r.code, r.reason) for r in second.refused]
        return Outcome([*outcome.refused, *refused], [outcome.again[n] for n in second.again])

    def _one_by_one(self, events: Sequence[Event], *, hopeful: bool = False) -> Outcome:
        """Send singly. ``hopeful``: the service took other events just now, so a failure is an event's own.

        Raises:
            Unavailable: also when the first ten, or all, fail alike: then it is the service.
        """
        outcome = Outcome()
        for position, event in enumerate(events):
            answer = self._post(SINGLE, event.body)
            if answer.status in _TAKEN and not answer.content_type.startswith("text/html"):
                hopeful = True
            elif answer.status in _REFUSED:
                outcome.refused.append(_refusal(position, answer.status, answer.content))
                hopeful = True
            elif answer.status in _ALONE and len(outcome.again) < _HOPELESS * (1 + 10 * hopeful):
                outcome.again.append(position)
            else:
                raise self._unavailable(answer)
        if outcome.again and not hopeful:
            raise self._unavailable(answer)
        return outcome

    def _post(self, path: str, body: bytes) -> _Answer:
        service = self._service
        headers = {"Content-Type": "application/json"}
        if service.compress:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=3)
        begun = time.monotonic()
        try:
            with self._session.post(
                self._url + path,
                data=body,
                headers=headers,
                timeout=(service.connect_timeout, service.read_timeout),
                verify=service.verify,
                auth=self._authorised,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = b""
                while part := response.raw.read1(1 << 16, decode_content=True):
                    content += part
                    if len(content) > _LONGEST_ANSWER or time.monotonic() - begun > service.read_timeout:
                        raise requests.exceptions.ReadTimeout
                return _Answer(
                    response.status_code,
                    content,
                    response.headers.get("Content-Type", "").lower(),
                    _seconds(response.headers.get("Retry-After")),
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(
                "GOV-527",
                f"the lineage service at {self._url} does not answer: {type(error).__name__}",
                "check its address and that it runs; events wait in the outbox",
            ) from None

    def _authorised(self, request: Any) -> Any:
        # As an auth callable, so that no ~/.netrc takes its place.
        if bearer := self._service.bearer():
            request.headers["Authorization"] = bearer
        return request

    def _unavailable(self, answer: _Answer) -> Unavailable:
        what = "no OpenLineage answer" if answer.status in _TAKEN else f"status {answer.status}"
        remedy = {
            401: "give the transport a valid token with scope ingest (token_file)",
            403: "give the transport a token with scope ingest for these namespaces (token_file)",
            404: f"check the address: {SINGLE} is appended to url",
        }.get(answer.status, "check the service; events wait in the outbox")
        return Unavailable(
            "GOV-527",
            f"the lineage service at {self._url} takes no events: {what}",
            remedy,
            answer.retry_after,
        )


def _batch_outcome(answer: _Answer, sent: int) -> Outcome | None:
    """What a 200 says of a batch; None when it does not account for every event."""
    try:
        told = json.loads(answer.content)
        summary, failures = told["summary"], told.get("failed_events") or []
        if summary["received"] != sent or summary["failed"] != len(failures):
            return None
        outcome = Outcome()
        for failure in failures:
            position = failure["index"]
            if not isinstance(position, int) or not 0 <= position < sent:
                return None
            if failure.get("retriable") is False:
                reason = str(failure.get("reason", "")).encode("utf-8", "replace")
                outcome.refused.append(_refusal(position, None, reason))
            else:
                outcome.again.append(position)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return outcome if len({*(r.position for r in outcome.refused), *outcome.again}) == len(failures) else None


def _refusal(position: int, status: int | None, content: bytes) -> Refusal:
    reason = content.decode("utf-8", "replace")
    code = REDACTED if REDACTED in reason else "refused" if status is None else f"HTTP {status}"
    return Refusal(position, code, reason)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After as seconds or an HTTP date (RFC 9110 §10.2.3); None when absent or unusable."""
    if not retry_after:
        return None
    try:
        if retry_after.strip().isdigit():
            return float(retry_after)
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
