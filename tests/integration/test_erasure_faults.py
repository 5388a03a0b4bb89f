"""Erasures that are killed, doubled, undone by a backup or tampered with."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from before_and_after import CUSTOMERS, german_subjects
from governed_home import Home, refused
from test_erasure import erase, facts, pseudonyms, sealed_names

from governance.errors import AccessError
from governance.keys.store import Keyring
from governance.keys.vault.vault import SubjectVault
from governance.lineage.recorder import OpenLineageRecorder
from governance.pipeline import release as release_module
from governance.pipeline.step import RunContext
from governance.pipeline.tombstones import tombstones
from governance.pipeline.workspace import Workspace
from governance.rights import finish
from governance.storage.file import FileStorage


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(owner: Any, name: str, when: Callable[..., bool], *, after: bool) -> None:
    """Let this process be killed before, or after, the first call that ``when`` accepts."""
    real = getattr(owner, name)

    def called(*arguments: Any, **options: Any) -> Any:
        chosen = when(*arguments, **options)
        if chosen and not after:
            die()
        done = real(*arguments, **options)
        if chosen:
            die()
        return done

    setattr(owner, name, called)


def stated(state: str) -> Callable[..., bool]:
    return lambda _self, record, _signer: record.evidence.facts.get("state") == state


BEGINNING = {
    "before the tombstone": lambda: arm(Workspace, "append_json", lambda *_: True, after=False),
    "after the tombstone": lambda: arm(Workspace, "append_json", lambda *_: True, after=True),
    "before the vault": lambda: arm(SubjectVault, "reseal", lambda *_, **__: True, after=False),
    "after the vault": lambda: arm(SubjectVault, "reseal", lambda *_, **__: True, after=True),
}
ENDING = {
    "before it is said": lambda: arm(OpenLineageRecorder, "record", stated("rewritten"), after=False),
    "after it is said": lambda: arm(OpenLineageRecorder, "record", stated("rewritten"), after=True),
    "before the swap": lambda: arm(FileStorage, "swap_pointer", lambda *_: True, after=False),
    "after the swap": lambda: arm(FileStorage, "swap_pointer", lambda *_: True, after=True),
    "before the keys": lambda: arm(Keyring, "destroy_segment_keys", lambda *_: True, after=False),
    "after the keys": lambda: arm(Keyring, "destroy_segment_keys", lambda *_: True, after=True),
    "before the end": lambda: arm(OpenLineageRecorder, "record", stated("searched"), after=False),
    "after the end": lambda: arm(OpenLineageRecorder, "record", stated("searched"), after=True),
}


def killed(point: Callable[[], None], work: Callable[[], object]) -> bool:
    """Run ``work`` in a child that is killed at the point; whether it was."""
    child = os.fork()
    if not child:
        try:
            point()
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_killed_at_every_step_it_goes_on_where_it_was(released: Home) -> None:
    """One home, killed at one point after the other: each child goes on from what the last one left."""
    subject, rows = next(iter(german_subjects(released).items()))
    [name] = pseudonyms(released, subject)
    before = released.manifest(CUSTOMERS).body["rows"]
    for place, point in BEGINNING.items():
        assert killed(point, lambda: erase(released, "R", subject)), place
    erase(released, "R", subject)
    assert facts(released, "R")["state"] == "suppressed"
    assert len(tombstones(released.workspace().log, released.path)) == 1
    for place, point in ENDING.items():
        assert killed(point, lambda: finish(released.workspace())), place
        rest = before - (rows if name not in sealed_names(released) else 0)
        assert released.manifest(CUSTOMERS).body["rows"] == rest, place
    finish(released.workspace())
    certificate = facts(released, "R")
    assert (certificate["state"], certificate["searched"]["found"]) == ("pending", 0)
    assert certificate["destroyed"]
    assert released.manifest(CUSTOMERS).body["rows"] == before - rows
    present = {p.name for p in (released.root(CUSTOMERS) / "segments").iterdir()}
    assert present == {s.segment_id for s in released.manifest(CUSTOMERS).segments}
    assert released.cli("log", "verify", "--files")[0] == 3


def test_two_erasures_of_one_subject_at_once(released: Home) -> None:
    subject = next(iter(german_subjects(released)))
    with ThreadPoolExecutor(2) as both:
        plans = list(both.map(lambda request: erase(released, request, subject), ("A", "B")))
    assert sorted(plan.facts["subjects"] for plan in plans if plan) == [0, 1]
    assert sorted(plan.facts["erased_before"] for plan in plans if plan) == [0, 1]
    finish(released.workspace())
    states = sorted(facts(released, request)["state"] for request in ("A", "B"))
    assert states == ["nothing known", "pending"]
    assert finish(released.workspace()) == []
    with pytest.raises(AccessError, match="no unfinished erasure"):
        finish(released.workspace(), requests=["A"])


def test_stores_restored_from_before_an_erasure(released: Home, tmp_path: Path) -> None:
    """With the log's tombstones the vault is refused; with all restored together the keys are gone.

    Before the epoch was rotated a copy of everything opens: then only what lies outside, the signer's memory
    here, a witness elsewhere, tells that the log was longer once.
    """
    home, backup = released.path, tmp_path / "backup"
    stores = ("vault", "keys", "store")
    for name in stores:
        shutil.copytree(home / name, backup / name)

    def restore(*names: str) -> None:
        for name in names:
            shutil.rmtree(home / name)
            shutil.copytree(backup / name, home / name)

    subject = next(iter(german_subjects(released)))
    erase(released, "R", subject)
    # Only what is called strength 1 was done: the epoch still lives.
    shutil.copytree(home, tmp_path / "at-once")
    at_once = Home(tmp_path / "at-once")
    for name in stores:
        shutil.rmtree(at_once.path / name)
        shutil.copytree(backup / name, at_once.path / name)
    opened = at_once.workspace()
    assert opened.vault.resolve("customer", pa.array([subject]), create=False)[0] >= 0
    with refused("GOV-503"):
        opened.log.checkpoint()

    # The request is not finished: a vault and keys put back are brought up to the log's tombstones, or refused.
    shutil.rmtree(home / "vault")
    shutil.copytree(backup / "vault", home / "vault")
    assert released.workspace().vault.resolve("customer", pa.array([subject]), create=False)[0] == -1
    finish(released.workspace())
    for names in (("vault",), ("vault", "keys"), stores):
        shutil.copytree(home, tmp_path / "now")
        restore(*names)
        with refused("GOV-303", "GOV-307"):
            released.workspace()
        shutil.rmtree(home)
        (tmp_path / "now").rename(home)
    assert facts(released, "R")["searched"]["found"] == 0


def test_an_unfinished_vault_behind_a_tombstone_whose_request_is_gone_is_refused(released: Home) -> None:
    subject = next(iter(german_subjects(released)))
    vault = released.path / "vault"
    shutil.copytree(vault, released.path / "vault-before")
    erase(released, "R", subject)
    shutil.rmtree(vault)
    (released.path / "vault-before").rename(vault)
    sealed = released.path / "erasure" / "R.sealed"
    kept = sealed.read_bytes()
    sealed.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with refused("GOV-307", free_of=(subject,)):
        released.workspace()
    sealed.write_bytes(kept)
    assert released.workspace().vault.resolve("customer", pa.array([subject]), create=False)[0] == -1


def test_a_request_is_not_taken_over_for_another_subject(released: Home) -> None:
    first, second = list(german_subjects(released))[:2]
    erase(released, "R", first)
    with refused("GOV-605", free_of=(first, second)):
        erase(released, "R", second)
    assert erase(released, "R", first) is None


def test_who_is_still_found_somewhere_is_recorded_and_not_called_erased(released: Home) -> None:
    subject = next(iter(german_subjects(released)))
    [name] = pseudonyms(released, subject)
    erase(released, "R", subject)
    waiting = released.path / "outbox" / "events"
    waiting.parent.mkdir(exist_ok=True)
    waiting.write_text(f'{{"column": "{name}"}}')
    with refused("GOV-606", free_of=(subject, name)):
        finish(released.workspace())
    certificate = facts(released, "R")
    assert (certificate["state"], certificate["searched"]["complete"]) == ("suppressed", False)
    [place] = [place for place in certificate["searched"]["places"] if place["found"]]
    assert (place["place"], place["found"]) == ("outbox/**", 1)
    epoch = released.workspace().keyring.epoch
    waiting.write_text(f'{{"column": "customer_id", "name": "{subject}"}}')
    with refused("GOV-606", free_of=(subject,)):
        finish(released.workspace(), identifiers={"customer": pa.array([subject])})
    waiting.unlink()
    finish(released.workspace())
    assert facts(released, "R")["searched"]["complete"]
    assert released.workspace().keyring.epoch == epoch, "what was destroyed is not destroyed again"


def test_an_erasure_between_the_last_look_and_the_pointer_stops_the_release(
    validated: tuple[Home, RunContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, context = validated
    subject = next(iter(german_subjects(home)))
    pointer, signed = home.pointer(CUSTOMERS), release_module.signed_manifest

    def and_an_erasure(*arguments: Any, **options: Any) -> Any:
        erase(home, "R", subject)
        return signed(*arguments, **options)

    monkeypatch.setattr(release_module, "signed_manifest", and_an_erasure)
    with refused("GOV-204"):
        release_module.release(context)
    assert home.pointer(CUSTOMERS) == pointer
