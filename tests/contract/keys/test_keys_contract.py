"""What every key provider must do, held against each of them.

Which of them speak to a real part and which to a stand-in is said in ``kms_services``.
"""

from __future__ import annotations

import base64
import logging
import secrets
import sqlite3
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from kms_services import Service
from rich.console import Console
from rich.traceback import Traceback

from governance.errors import ProtectionError, SettingError
from governance.keys.epoch import Destruction, EpochKey
from governance.keys.providers import remote as remote_module
from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import KeyProvider, provider_for
from governance.keys.store import Keyring


@pytest.fixture
def store() -> str:
    """The id of a key store that the service, which lives longer than a test, has not met."""
    return secrets.token_hex(16)


def _wrap(epoch: EpochKey) -> bytes:
    return epoch.wrap(bytes(range(32)), "k", "", "")


def _opens(epoch: EpochKey, wrapped: bytes) -> bool:
    return epoch.unwrap(wrapped, "k", "", "") == bytes(range(32))


def _code(call: Any, *arguments: Any) -> str:
    with pytest.raises(ProtectionError) as caught:
        call(*arguments)
    return caught.value.code


def _quickly(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.15) -> list[float]:
    """Shorten time limits, and the pauses between attempts to nothing; returns those asked for."""
    paused: list[float] = []
    for module in ("aws_kms", "hashicorp_vault", "gcp_kms", "azure_key_vault"):
        for name in ("CONNECT_SECONDS", "READ_SECONDS"):
            monkeypatch.setattr(f"governance.keys.providers.{module}.{name}", seconds, raising=False)
    monkeypatch.setattr("time.sleep", paused.append)
    return paused


def test_an_epoch_is_one_for_every_process_and_another_for_each_store(service: Service, store: str) -> None:
    provider = service.open()
    wrapped = _wrap(provider.create_epoch(store, 1))
    assert _opens(provider.create_epoch(store, 1), wrapped), "again is harmless"
    assert _opens(service.open().epoch_key(store, 1), wrapped)
    other = secrets.token_hex(16)
    for named, epoch in ((other, 1), (store, 2)):
        with pytest.raises(ProtectionError, match="GOV-308"):
            provider.create_epoch(named, epoch).unwrap(wrapped, "k", "", "")
    assert (provider.epochs(store), provider.epochs(other)) == ((1, 2), (1,))
    assert provider.epochs(secrets.token_hex(16)) == ()
    assert provider.uri.startswith(f"{service.scheme}:")
    assert _code(provider.epoch_key, store, 3) == "GOV-303"


def test_another_kek_and_other_material_are_noticed(service: Service, store: str) -> None:
    provider = service.open()
    wrapped = _wrap(provider.create_epoch(store, 1))
    assert _code(service.open("another").epoch_key, store, 1) == service.another
    service.replace(store, 1)
    assert _code(lambda: _opens(provider.epoch_key(store, 1), wrapped)) == "GOV-308"


def test_a_new_version_inside_the_service_changes_nothing(service: Service, store: str) -> None:
    if type(service).turn is Service.turn:
        pytest.skip("these keys have no versions")
    wrapped = _wrap(service.open().create_epoch(store, 1))
    service.turn(store, 1)
    assert _opens(service.open().epoch_key(store, 1), wrapped)


def test_destruction_is_at_once_and_pending_until_it_is_certain(service: Service, store: str) -> None:
    provider = service.open()
    wrapped = [_wrap(provider.create_epoch(store, epoch)) for epoch in (1, 2, 3)]
    told = provider.destroy_epochs(store, 3)
    assert told.epochs == (1, 2)
    assert told.pending and not told.confirmed
    for epoch in (1, 2):
        assert _code(provider.epoch_key, store, epoch) == "GOV-303"
    assert _opens(service.open().epoch_key(store, 3), wrapped[2])
    assert provider.epochs(store) == (3,)
    again = service.open().destroy_epochs(store, 3)
    assert again == Destruction((), False, told.pending, told.waiting)
    service.expire()
    certain = provider.destroy_epochs(store, 3)
    assert certain.pending == service.standing
    assert certain.confirmed is not bool(service.standing)
    assert certain.confirms(1) is certain.confirmed
    # A destroyed number is not given out again, as far as the service remembers it.
    assert provider.epochs(store) == (3,)


def test_threads_that_make_one_epoch_agree(service: Service, store: str) -> None:
    if not service.agrees_on_races:
        pytest.skip("the service has no way to say so; the key store's lock keeps creators apart")
    together = threading.Barrier(3)
    providers = [service.open() for _ in range(3)]

    def make(provider: KeyProvider) -> EpochKey:
        together.wait()
        return provider.create_epoch(store, 1)

    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(make, providers))
    wrapped = _wrap(made[0])
    assert all(_opens(each, wrapped) for each in made)


def test_a_moment_of_throttling_passes(remote: Service, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = remote.open()
    wrapped = _wrap(provider.create_epoch(store, 1))
    paused: list[float] = []
    monkeypatch.setattr("time.sleep", paused.append)
    for status in (429, 503):
        remote.server.faults.status = status
        remote.server.faults.failures = 2
        assert _opens(provider.epoch_key(store, 1), wrapped)
    assert paused


@pytest.mark.parametrize("fault", ["throttled", "slow", "garbage", "refused"])
def test_a_service_that_does_not_answer_is_said_in_time(
    remote: Service, store: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    remote.open().create_epoch(store, 1)
    faults = remote.server.faults
    with monkeypatch.context() as patch:
        paused = _quickly(patch)
        provider = remote.open()
        faults.asked = 0
        if fault == "throttled":
            faults.status, faults.failures = 429, 1_000_000
        elif fault == "slow":
            faults.stall()
        else:
            setattr(faults, fault, True)
        assert _code(provider.epoch_key, store, 1) == "GOV-309"
    if remote.scheme != "gcp-kms":
        # Google's client stops after a time, not a number; it is bounded by the limit above.
        assert faults.asked <= 2 * remote_module.ATTEMPTS + 1
        assert sum(paused) < 60
    faults.behave()
    assert _code(remote.open().epoch_key, store, 2) == "GOV-303", "and then it goes on"


def test_a_service_that_is_away_or_knows_nobody(
    remote: Service, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _quickly(patch)
        remote.away(patch)
        away = remote.open()
        for call in (
            away.epochs,
            lambda _: away.create_epoch(store, 1),
            lambda _: away.destroy_epochs(store, 2),
        ):
            assert _code(call, store) == "GOV-309"
    with monkeypatch.context() as patch:
        remote.without_credentials(patch)
        assert _code(remote.open().create_epoch, store, 1) == "GOV-309"


class _Interrupted:
    """A provider whose process ends where a crash would end it."""

    def __init__(self, provider: KeyProvider, step: str) -> None:
        self._provider = provider
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def create_epoch(self, store: str, epoch: int) -> EpochKey:
        created = self._provider.create_epoch(store, epoch)
        if self._step == "created":
            raise KeyboardInterrupt
        return created

    def destroy_epochs(self, store: str, before: int) -> Destruction:
        raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["created", "committed"])
def test_keys_move_to_another_kek_and_a_crash_leaves_the_old_or_the_new(
    service: Service, tmp_path: Path, step: str
) -> None:
    origin = provider_for(create_file_key(tmp_path / "kek.json"))
    keys = tmp_path / "keys"
    keyring = Keyring.create(keys, _Interrupted(origin, "destroyed"))  # type: ignore[arg-type]
    key_id = keyring.new_segment_key("a", "restricted")
    key, root = keyring.segment_key(key_id), keyring.secret("x")
    target = service.open()
    with pytest.raises(KeyboardInterrupt):
        keyring.move(_Interrupted(target, step))  # type: ignore[arg-type]
    keyring.close()
    if step == "created":
        reopened = Keyring.open(keys, origin)
        assert reopened.segment_key(key_id) == key
        rotation = reopened.move(target)
        assert rotation.destruction.epochs == (1,)
    else:
        with pytest.raises(ProtectionError, match=r"GOV-303.* were moved") as caught:
            Keyring.open(keys, origin)
        assert target.uri in caught.value.remedy
        reopened = Keyring.open(keys, service.open())
        assert [each.told_at for each in reopened.destructions] == [None]
        assert origin.epochs(reopened._store) == (1,)
        reopened.confirm(provider_for)
    assert origin.epochs(reopened._store) == ()
    assert (reopened.segment_key(key_id), reopened.secret("x")) == (key, root)
    assert [(each.epoch, each.provider) for each in reopened.destructions] == [(1, origin.uri)]
    # And back, from the service to a file.
    back = provider_for(create_file_key(tmp_path / "back.json"))
    reopened.move(back)
    assert target.epochs(reopened._store) == ()
    assert Keyring.open(keys, back).segment_key(key_id) == key
    with pytest.raises(SettingError, match="GOV-901"):
        reopened.move(back)


def test_an_old_copy_of_the_key_store_is_noise(service: Service, tmp_path: Path) -> None:
    keyring = Keyring.create(tmp_path / "keys", service.open())
    kept, shredded = (keyring.new_segment_key(name, "restricted") for name in "ab")
    before = keyring.segment_key(kept)
    old = tmp_path / "old"
    old.mkdir()
    with (
        sqlite3.connect(tmp_path / "keys" / "keys.sqlite") as live,
        sqlite3.connect(old / "keys.sqlite") as copy,
    ):
        live.backup(copy)
    keyring.destroy_segment_keys(["b"])
    assert keyring.segment_key(kept) == before
    assert _code(keyring.segment_key, shredded) == "GOV-303"
    assert _code(Keyring.open, old, service.open()) == "GOV-303"
    (first,) = keyring.confirm(provider_for)
    assert (first.epoch, first.confirmed_at) == (1, None) and first.pending
    service.expire()
    (second,) = keyring.confirm(provider_for)
    assert (second.confirmed_at is None) is bool(service.standing)
    assert second.told_at == first.told_at


def _failure(call: Any, store: str) -> str:
    """What tracebacks with local variables show of a failure; nothing of its own frame is a key."""
    text = StringIO()
    try:
        call(store, 1)
    except RuntimeError as error:
        plain = traceback.TracebackException.from_exception(error, capture_locals=True)
        rich = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        Console(file=text, width=500).print(rich)
        return "".join(plain.format()) + text.getvalue()
    raise AssertionError("it did not fail")


def test_no_key_is_shown(
    service: Service, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything at DEBUG, and a failure in the middle of each call as tracebacks with locals show it."""
    seen: list[bytes] = []
    make = EpochKey.__init__

    def spy(self: EpochKey, named: str, epoch: int, key: bytes) -> None:
        seen.append(bytes(key))
        make(self, named, epoch, key)
        if fails:
            raise RuntimeError("injected")

    fails = False
    monkeypatch.setattr(EpochKey, "__init__", spy)
    caplog.set_level(logging.DEBUG)
    # Google's loggers do not hand on to the root's.
    google = logging.getLogger("google")
    monkeypatch.setattr(google, "handlers", [caplog.handler])
    caplog.set_level(logging.DEBUG, "google")
    provider = service.open()
    shown = [
        repr(provider.create_epoch(store, 1)),
        str(provider),
        repr([provider, provider.epoch_key(store, 1)]),
    ]
    fails = True
    shown += [_failure(provider.epoch_key, store), _failure(provider.create_epoch, store)]
    monkeypatch.undo()
    # Structured logs show what a record carries beside its text.
    everything = "\n".join([*shown, caplog.text, *(repr(vars(record)) for record in caplog.records)])
    assert len(set(seen)) == 1 and "injected" in everything
    for spelling in (seen[0].hex(), base64.b64encode(seen[0]).decode()[:-1], repr(seen[0])[2:-1]):
        assert spelling not in everything
    assert "hunter22" not in everything
