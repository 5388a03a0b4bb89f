"""What providers behind a network have in common: an epoch key that the service computes and never stores.

Each epoch has a key of its own in the service, made there and not exportable. The epoch key is what the
service answers when it authenticates the store's id and the epoch with that key: a MAC, or a signature of
the kind of which only one exists. So nothing wrapped lies anywhere, a copy of the key store holds nothing
to open, and destroying one key at the service ends one epoch and no other. Every call has a time limit and
is tried again a few times, with growing pauses.
"""

from __future__ import annotations

import hmac
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl

from governance.errors import ProtectionError, SettingError
from governance.keys.epoch import Destruction, EpochKey
from governance.keys.sealing import KEY_SIZE, KeyMaterial, Secretive, confined
from governance.model.canonical import canonical

CONNECT_SECONDS = 3.0
READ_SECONDS = 5.0
ATTEMPTS = 4

_asking: ContextVar[bool] = ContextVar("governance_keys_asking", default=False)


class _Unanswered(Exception):
    """The service answered something that is no key."""


class _Discreet(logging.Filter):
    """Drops what a client library says below WARNING of our calls: at DEBUG some log whole answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or not _asking.get()


_DISCREET = _Discreet()


class RemoteProvider(Secretive, ABC):
    """A :class:`governance.keys.providers.provider.KeyProvider` at a service.

    Raises:
        ProtectionError: GOV-309 if the service cannot be reached, throttles, refuses the principal or
            answers nonsense; GOV-303 if it holds no usable key for an epoch.
    """

    __slots__ = ("_uri",)

    loggers: ClassVar[tuple[str, ...]] = ()
    """Loggers of its client library that may show answers."""
    standing: ClassVar[tuple[str, ...]] = ()
    """What always stands between a destruction and certainty, as the service cannot know it."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        for name in self.loggers:
            # Adding the same filter again changes nothing.
            logging.getLogger(name).addFilter(_DISCREET)

    @property
    def uri(self) -> str:
        return self._uri

    def lies_in(self, directory: Path) -> bool:  # noqa: ARG002 - a service is in no directory
        return False

    @confined
    def epochs(self, store: str) -> tuple[int, ...]:
        with self._asking("list the keys"):
            return tuple(sorted(epoch for epoch, waits in self._held(store).items() if waits is None))

    @confined
    def create_epoch(self, store: str, epoch: int) -> EpochKey:
        with self._asking("create a key"):
            self._make(store, epoch)
            # What is wrapped under a wrong answer could never be opened again.
            first, second = self._computed(store, epoch), self._computed(store, epoch)
            if not hmac.compare_digest(first, second):
                raise _Unanswered
        return EpochKey(store, epoch, second)

    @confined
    def epoch_key(self, store: str, epoch: int) -> EpochKey:
        with self._asking("use a key"):
            return EpochKey(store, epoch, self._computed(store, epoch))

    @confined
    def destroy_epochs(self, store: str, before: int) -> Destruction:
        gone: list[int] = []
        pending: dict[int, str] = {}
        with self._asking("delete a key"):
            for epoch, waits in sorted(self._held(store).items()):
                if epoch < before:
                    if waits is None:
                        gone.append(epoch)
                    words = self._destroy(store, epoch)
                    if words is not None:
                        pending[epoch] = words
        return Destruction(
            tuple(gone),
            confirmed=not pending and not self.standing,
            pending=(*pending.values(), *self.standing),
            waiting=None if self.standing else tuple(pending),
        )

    @abstractmethod
    def _held(self, store: str) -> dict[int, str | None]:
        """Epochs that are not gone: None if usable, otherwise in words what keeps it from use."""

    @abstractmethod
    def _make(self, store: str, epoch: int) -> None:
        """Make the epoch's key unless there is one, whatever its state."""

    @abstractmethod
    def _authenticated(self, store: str, epoch: int, message: bytes) -> bytes | None:
        """32 bytes that only the epoch's key gives for ``message``; None if it is not usable."""

    @abstractmethod
    def _destroy(self, store: str, epoch: int) -> str | None:
        """Destroy an epoch's key, or see how far that is; in words what is left to wait for."""

    @abstractmethod
    def _faults(self) -> tuple[type[Exception], ...]:
        """What the client library raises when the service does not do what it is asked."""

    def _said(self, fault: Exception) -> str:
        """The fault's name: messages of services may quote what was sent."""
        return type(fault).__name__

    def _before_asking(self) -> None:
        """Whatever a call needs, such as fresh credentials."""

    def _named(self, store: str, names: Iterator[str], prefix: str) -> dict[int, str]:
        """Epoch → name, of those names that belong to a store."""
        begins = f"{prefix}-{store}-"
        found = ((name, name.removeprefix(begins)) for name in names if name.startswith(begins))
        return {int(number): name for name, number in found if re.fullmatch("[0-9]{1,18}", number)}

    def _computed(self, store: str, epoch: int) -> KeyMaterial:
        answer = self._authenticated(store, epoch, canonical(["governance epoch key v1", store, epoch]))
        if answer is None:
            raise ProtectionError(
                "GOV-303",
                f"{self._uri} holds no usable key for epoch {epoch} of this key store: it was destroyed, "
                "disabled, or is another's",
                "use the key store's newest copy with the key provider it was made with",
            )
        if len(answer) != KEY_SIZE:
            raise _Unanswered
        return KeyMaterial(answer)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        said = None
        token = _asking.set(True)
        try:
            self._before_asking()
            yield
        except self._faults() as fault:
            said = self._said(fault)
        except (_Unanswered, LookupError, TypeError, ValueError, AttributeError):
            said = "an answer that cannot be understood"
        finally:
            _asking.reset(token)
        if said is not None:
            raise ProtectionError(
                "GOV-309",
                f"{self._uri} did not {what}: {said}",
                "check the network, the credentials and what the principal may do (docs/keys.md), then try again",
            )


def options(query: str | None, allowed: dict[str, re.Pattern[str]]) -> dict[str, str] | None:
    """The options of a provider's URI; None if one is unknown, given twice or malformed."""
    try:
        pairs = parse_qsl(query or "", keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        return None
    found = dict(pairs)
    sound = all(name in allowed and allowed[name].fullmatch(value) for name, value in pairs)
    return found if sound and len(found) == len(pairs) else None


def malformed(what: str, remedy: str) -> ProtectionError:
    """GOV-301; the URI itself is not repeated, for it may be a pasted secret."""
    return ProtectionError("GOV-301", what, remedy)


def missing(scheme: str, library: str, extra: str) -> SettingError:
    """GOV-902: the client library is not installed."""
    return SettingError(
        "GOV-902",
        f"{scheme}: needs the package {library}, which is not installed",
        f"install airflow-governance[{extra}]",
    )
