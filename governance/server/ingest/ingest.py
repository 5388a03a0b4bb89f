"""`POST /api/v1/lineage` and `/lineage/batch`: acknowledged when durable, never before.

What can be parsed is taken as it came, byte for byte, and judged later, by
:mod:`governance.lineage.conformance`; what cannot is answered with the reason. This path is the hot one: an
event is scanned once for its outline, never built as objects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from governance.errors import AccessError, GovernanceError, LogError
from governance.lineage.naming import EVENT_MEDIA_TYPE, PREFIX
from governance.lineage.reading import read_event, unparsable
from governance.lineage.signatures import evidence_keys
from governance.log import NewEntry
from governance.server.access import bearer
from governance.server.answers import named_fault, refusal, unexpected
from governance.server.ingest.joining import JoinedAppends
from governance.server.ingest.request_body import BodyReader, Disconnected, Receive
from governance.server.metrics import IngestCounts
from governance.server.served import ServedStore
from governance.server.tokens import Caller

_OURS = PREFIX.encode()
_LARGE = 256 << 10
"""Bytes from which parsing and hashing leave the event loop for a thread."""

SMALL = 64 << 10
"""Bytes up to which a batch is worth no thread, and an event no task."""

Answer = tuple[int, Mapping[str, str], bytes]
Headers = Iterable[tuple[bytes, bytes]]

_TAKEN: Answer = (201, {}, b"")

_log = logging.getLogger(__name__)


class _Outline(msgspec.Struct):
    run: msgspec.Raw = msgspec.Raw(b"")
    job: msgspec.Raw = msgspec.Raw(b"")
    dataset: msgspec.Raw = msgspec.Raw(b"")


class _Named(msgspec.Struct):
    namespace: str = ""


_outline = msgspec.json.Decoder(_Outline).decode
_named = msgspec.json.Decoder(_Named).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


def outline(body: bytes | memoryview) -> _Outline:
    """Where run, job and dataset of an event stand. Its JSON is checked, its members are not read.

    Raises:
        LogError: GOV-508 with the reason, as :func:`governance.lineage.reading.read_event`.
    """
    try:
        str(body, "utf-8")
        found = _outline(body)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        read_event(bytes(body))
        raise unparsable("it is not UTF-8 without a byte order mark, or nested too deeply") from None
    if not any(part[:1] == b"{" for part in map(bytes, (found.run, found.dataset, found.job)) if part):
        raise unparsable("it is about neither a run nor a job nor a dataset")
    return found


def entry_of(body: bytes, caller: Caller) -> NewEntry:
    """The leaf that an event becomes when this caller sends it.

    Raises:
        LogError: GOV-508 when it cannot be parsed.
        AccessError: GOV-611 when its namespace or kind is not the caller's.
    """
    found = outline(body)
    if caller.namespaces is not None:
        _within(found, caller)
    scope = "ingest"
    if "evidence" in caller.scopes and _OURS in body and evidence_keys(read_event(body).body):
        scope = "evidence"
    if scope not in caller.scopes:
        raise AccessError(
            "GOV-611",
            "the token may only send events that hold governance_* evidence",
            "use a token with the scope ingest: `governance token create --scopes ingest`",
        )
    return NewEntry(body, EVENT_MEDIA_TYPE, caller.principal(scope))


def _within(found: _Outline, caller: Caller) -> None:
    owner = found.job if found.job or not found.dataset else found.dataset
    try:
        namespace = _named(owner).namespace
    except msgspec.MsgspecError:
        namespace = ""
    if not caller.sees(namespace):
        raise AccessError(
            "GOV-611",
            "the event's namespace is not one of the token's",
            "use a token made with that --namespace",
        )


class Ingest:
    """Takes events. Its methods run on the event loop."""

    def __init__(self, served: ServedStore, reader: BodyReader) -> None:
        self._served = served
        self._reader = reader
        self._joined = JoinedAppends(served.group, served.tokens.skip)
        self.counts = IngestCounts()

    async def one(self, scope: Mapping[str, Any], receive: Receive) -> Answer | None:
        """Take one event; None when the client went away."""
        return await self._answered(self._one, scope, receive)

    def take(self, headers: Headers, body: bytes, answered: Callable[[Answer], None]) -> None:
        """Take one event whose body is whole and plain; ``answered`` is called once, now or later."""
        timed = self.counts.timed()

        def told(fault: BaseException | None) -> None:
            if fault is None:
                self.counts.took(1, len(body))
                answer = _TAKEN
            elif isinstance(fault, GovernanceError):
                answer = refusal(fault)
            else:
                _log.error("unexpected %s", named_fault(fault))
                answer = unexpected()
            timed.status = answer[0]
            timed.end()
            answered(answer)

        try:
            caller = bearer(self._served, headers, ("ingest", "evidence"))
            self._joined.submit([entry_of(body, caller)], told)
        except Exception as fault:
            told(fault)

    async def batch(self, scope: Mapping[str, Any], receive: Receive) -> Answer | None:
        """Take a JSON array of events; those that cannot be taken are named, the others are durable."""
        return await self._answered(self._batch, scope, receive)

    async def _answered(self, take: Any, scope: Mapping[str, Any], receive: Receive) -> Answer | None:
        with self.counts.timed() as timed:
            try:
                headers = scope["headers"]
                caller = bearer(self._served, headers, ("ingest", "evidence"))
                answer: Answer = await take(caller, await self._reader.read(headers, receive))
            except Disconnected:
                timed.status = 499
                return None
            except GovernanceError as fault:
                answer = refusal(fault)
            timed.status = answer[0]
            return answer

    async def _one(self, caller: Caller, body: bytes) -> Answer:
        if len(body) < _LARGE:
            await self._joined.append([entry_of(body, caller)])
        else:
            future = await asyncio.to_thread(lambda: self._served.group.submit([entry_of(body, caller)]))
            await asyncio.wrap_future(future)
        self.counts.took(1, len(body))
        return _TAKEN

    async def _batch(self, caller: Caller, body: bytes) -> Answer:
        if len(body) < SMALL:
            entries, failed, submitted = self._submitted(body, caller)
        else:
            entries, failed, submitted = await asyncio.to_thread(self._submitted, body, caller)
        received = len(entries) + len(failed)
        failed += await self._appended(entries, submitted)
        lost = len(failed)
        self.counts.took(received - lost, len(body))
        if not failed:
            return 204, {}, b""
        retriable = sum(fault["retriable"] for fault in failed)
        document = {
            "status": "partial_success",
            "summary": {
                "received": received,
                "successful": received - lost,
                "failed": lost,
                "retriable": retriable,
                "non_retriable": lost - retriable,
            },
            "failed_events": sorted(failed, key=lambda fault: fault["index"]),
        }
        return 200, {}, msgspec.json.encode(document)

    def _submitted(
        self, body: bytes, caller: Caller
    ) -> tuple[list[tuple[int, NewEntry]], list[dict[str, Any]], Future[list[int]] | None]:
        entries, failed = _sorted_out(body, caller)
        submitted = (
            self._served.group.submit([entry for _, entry in entries], at_once=True) if entries else None
        )
        return entries, failed, submitted

    async def _appended(
        self, entries: Sequence[tuple[int, NewEntry]], submitted: Future[list[int]] | None
    ) -> list[dict[str, Any]]:
        """Wait until all are durable; where one refuses them all, append each by itself.

        Returns:
            Those that failed.
        """
        try:
            if submitted is not None:
                indexes = await asyncio.wrap_future(submitted)
                self._served.tokens.skip(indexes)
            return []
        except LogError as fault:
            if fault.code != "GOV-505":
                raise
        done = await asyncio.gather(
            *(self._joined.append([entry]) for _, entry in entries), return_exceptions=True
        )
        failed = []
        for (index, _), outcome in zip(entries, done, strict=True):
            if isinstance(outcome, LogError):
                failed.append(_failure(index, outcome))
            elif isinstance(outcome, BaseException):
                raise outcome
        return failed


def _sorted_out(body: bytes, caller: Caller) -> tuple[list[tuple[int, NewEntry]], list[dict[str, Any]]]:
    """Each element's own bytes as an entry, by position; and those that cannot be one."""
    try:
        elements = _elements(body)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise LogError(
            "GOV-508",
            "a batch cannot be parsed: it is not a JSON array in UTF-8",
            "send an array of OpenLineage events (spec 2-0-2), `[…]`",
        ) from None
    entries: list[tuple[int, NewEntry]] = []
    failed: list[dict[str, Any]] = []
    for index, element in enumerate(elements):
        try:
            entries.append((index, entry_of(bytes(element), caller)))
        except GovernanceError as fault:
            failed.append(_failure(index, fault))
    return entries, failed


def _failure(index: int, fault: GovernanceError) -> dict[str, Any]:
    retriable = fault.code in ("GOV-501", "GOV-510")
    return {"index": index, "reason": f"{fault.code} {fault.message}", "retriable": retriable}
