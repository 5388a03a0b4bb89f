"""Where emitted events go: what a sender must be told, and the log as a destination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from governance.errors import GovernanceError, LogError
from governance.lineage.emission.framing import Event
from governance.lineage.naming import EVENT_MEDIA_TYPE

if TYPE_CHECKING:
    from governance.log import NewEntry

REDACTED = "GOV-505"
"""Why a destination refuses an event whose body was removed for good: it is forgotten here as well."""

_FOR_GOOD = frozenset({REDACTED, "GOV-508", "GOV-509"})


class Unavailable(LogError):
    """The destination cannot take events now; nothing is known to be refused.

    ``retry_after`` is in seconds, None when the destination did not say.
    """

    def __init__(self, code: str, message: str, remedy: str, retry_after: float | None = None) -> None:
        super().__init__(code, message, remedy)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event refused for good: its position among those sent, a short ``code`` and a ``reason``.

    ``code`` (``HTTP 400``, ``GOV-508``) quotes nothing; ``reason`` may, it is the destination's own text.
    """

    position: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a send. All not named here are durable at the destination.

    ``again`` are positions of events that failed alone and are worth another try.
    """

    refused: list[Refusal] = field(default_factory=list)
    again: list[int] = field(default_factory=list)


class Destination(Protocol):
    """Takes events, durably."""

    def send(self, events: Sequence[Event], /) -> Outcome:
        """Return when all events are durable or refused for good; sending one twice does no harm.

        Raises:
            Unavailable: none, some or all of them arrived; send all of them again.
        """


class AppendOnly(Protocol):
    """What a transport needs of the log."""

    def append(self, entries: Sequence[NewEntry], /) -> list[int]:
        """Append durably and return the index of each entry, of the first one for a duplicate."""


def append_event(log: AppendOnly, body: bytes, principal: str) -> int:
    """Append one serialized event and return its log index.

    Raises:
        LogError: it was not durably appended: GOV-501 if the store failed, else the log's own code.
    """
    [index] = _append(log, [Event(body, principal)])
    return index


class LogDestination:
    """The log itself. ``log`` is called at each send, by the thread that sends."""

    def __init__(self, log: Callable[[], AppendOnly]) -> None:
        self._log = log

    def send(self, events: Sequence[Event]) -> Outcome:
        try:
            log = self._log()
        except Exception as error:
            raise _unavailable(error) from None
        return Outcome(list(self._refused(log, events, 0)))

    def _refused(self, log: AppendOnly, events: Sequence[Event], first: int) -> list[Refusal]:
        """Append; where the log refuses all because of some, halve until those are alone."""
        try:
            _append(log, events)
        except GovernanceError as error:
            if error.code not in _FOR_GOOD:
                raise _unavailable(error) from None
            if len(events) == 1:
                return [Refusal(first, error.code, error.message)]
            half = len(events) // 2
            return [
                *self._refused(log, events[:half], first),
                *self._refused(log, events[half:], first + half),
            ]
        return []


def _append(log: AppendOnly, events: Sequence[Event]) -> list[int]:
    from governance.log import NewEntry

    try:
        return log.append([NewEntry(e.body, EVENT_MEDIA_TYPE, e.principal) for e in events])
    except GovernanceError:
        raise
    except Exception as error:
        raise LogError(
            "GOV-501",
            f"{len(events)} events could not be appended: {type(error).__name__}",
            "check that the lineage store exists, is writable and has space, then run again",
        ) from None


def _unavailable(error: Exception) -> Unavailable:
    if isinstance(error, GovernanceError):
        return Unavailable(error.code, error.message, error.remedy)
    return Unavailable(
        "GOV-501",
        f"the lineage store cannot be opened: {type(error).__name__}",
        "check that the lineage store exists, is writable and has space, then run again",
    )
