"""What the server counts, for Prometheus: `/metrics`."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from governance.server.access import allow
from governance.server.answers import REFUSALS

if TYPE_CHECKING:
    from governance.server.served import ServedStore

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class IngestCounts:
    """Counts of the ingest path. One thread writes, the event loop's; others may read."""

    def __init__(self) -> None:
        self.events = 0
        self.bytes = 0
        self.answers: Counter[int] = Counter()
        self.seconds = 0.0
        self.buckets = [0] * (len(_BUCKETS) + 1)

    def took(self, events: int, size: int) -> None:
        """Events became durable; their request had so many bytes."""
        self.events += events
        self.bytes += size

    def timed(self) -> _Timed:
        """Measures one request; set ``status`` inside it."""
        return _Timed(self)


class _Timed:
    __slots__ = ("_begun", "_counts", "status")

    def __init__(self, counts: IngestCounts) -> None:
        self._counts = counts
        self._begun = time.perf_counter()
        self.status = 500

    def __enter__(self) -> _Timed:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """The request was answered."""
        spent = time.perf_counter() - self._begun
        self._counts.answers[self.status] += 1
        self._counts.seconds += spent
        self._counts.buckets[bisect_left(_BUCKETS, spent)] += 1


class _Collected(Collector):
    def __init__(self, served: ServedStore, counts: IngestCounts) -> None:
        self._served = served
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts, served = self._counts, self._served
        yield _counter("governance_events", "Events made durable by this server.", counts.events)
        yield _counter("governance_event_bytes", "Bytes of the requests that brought them.", counts.bytes)
        answers = CounterMetricFamily(
            "governance_ingest_answers", "Answers of the ingest path by status.", labels=["status"]
        )
        for status, number in sorted(counts.answers.items()):
            answers.add_metric([str(status)], number)
        yield answers
        total, buckets = 0, []
        for bound, number in zip((*map(str, _BUCKETS), "+Inf"), counts.buckets, strict=True):
            total += number
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "governance_ingest_seconds",
            "Seconds from the first byte of a request to its durable answer.",
            buckets=buckets,
            sum_value=counts.seconds,
        )
        known = served.known_size
        yield _gauge("governance_log_entries", "Entries of the log, as last seen.", known)
        yield _gauge("governance_index_entries", "Entries that the index has read.", served.index.size)
        yield _gauge(
            "governance_index_lag_entries", "Entries it has yet to read.", max(0, known - served.index.size)
        )
        yield _gauge("governance_waiting_entries", "Entries waiting to be durable.", served.group.waiting)
        yield _gauge("governance_waiting_bytes", "Their size in bytes.", served.group.waiting_bytes)
        yield _gauge("governance_tokens", "Tokens that are valid now.", len(served.tokens))
        yield _gauge("governance_store_up", "1 while the store answers.", int(served.fault is None))
        if served.checkpoint is not None:
            yield _gauge("governance_checkpoint_entries", "Entries that are signed.", served.checkpoint.size)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def router(served: ServedStore, counts: IngestCounts) -> APIRouter:
    """`/metrics`."""
    registry = CollectorRegistry()
    registry.register(_Collected(served, counts))
    routes = APIRouter(tags=["operation"], responses=REFUSALS)

    @routes.get("/metrics", response_class=Response, dependencies=[Depends(allow("read"))])
    def metrics() -> Response:
        """Figures of this server in Prometheus' text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return routes
