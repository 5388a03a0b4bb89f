"""An erasure's second and third strength: segments rewritten, keys destroyed, every listed place searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from governance.errors import AccessError, GovernanceError, StorageError
from governance.model.canonical import canonical, digest
from governance.model.erasure import GROUNDS
from governance.model.evidence import Recorder
from governance.pipeline.local import local_recorder
from governance.pipeline.membership import MEMBERSHIP
from governance.pipeline.release import recover
from governance.pipeline.tombstones import (
    ErasureRequest,
    drop_request,
    erasing,
    keep_request,
    kept_requests,
    seal_anew,
)
from governance.pipeline.workspace import Workspace
from governance.protect.outputs import QUARANTINE
from governance.protect.segment import SEGMENTS
from governance.rights.erasing import begin, record_step, stated_tombstones, steps_of
from governance.rights.holdings import Holding, Wanted, dataset_names, find_rows
from governance.rights.plan import holds_on, now, stated_hold
from governance.rights.residues import remaining
from governance.rights.rewriting import rewrite_holding
from governance.rights.searching import search_rows, search_text, search_vault

_TRIES = 3


def finish(
    workspace: Workspace,
    *,
    requests: Sequence[str] | None = None,
    identifiers: Mapping[str, pa.Array] | None = None,
) -> list[dict[str, Any]]:
    """Bring requests to their end; many at once rewrite each segment once.

    Affected segments of the released versions are written again without the subjects and released; these,
    those of earlier and of failed versions and quarantined ones lose their keys by one rotation of the epoch;
    their files go; then every registered place is searched. Rows that a legal hold keeps stay, and so does
    their request. Killed at any point, it is called again.

    Args:
        requests: by name; all by default.
        identifiers: the subjects by domain, where they are at hand: then text is searched for them too.

    Returns:
        What was recorded as the end of each request.

    Raises:
        AccessError: GOV-605 for a request that is not begun or is finished; GOV-606 when a dataset kept being
            released meanwhile, or erased subjects are still found; the latter is recorded first.
        StorageError, ProtectionError, LogError: as reading, rewriting and releasing.
    """
    home = workspace.settings.home
    with erasing(home):
        pending = [
            r for r in kept_requests(home, workspace.keyring) if requests is None or r.request in requests
        ]
        if missing := sorted(set(requests or ()) - {request.request for request in pending}):
            raise AccessError(
                "GOV-605",
                f"no unfinished erasure has the name {', '.join(missing)}",
                "`governance erase --status` lists them",
            )
        if not pending:
            return []
        names = [request.request for request in pending]
        recorder = local_recorder(workspace, "erasure", digest(canonical(names))[7:23])
        steps = steps_of(workspace, names)
        for request in pending:
            begin(workspace, recorder, request, steps[request.request])
        work = _Work(workspace, recorder, pending, list(steps.values()))
        work.rewrite()
        work.destroy()
        ended = work.search(identifiers or {})
        workspace.log.checkpoint()
    if found := max(facts["found"] for facts in ended):
        raise AccessError(
            "GOV-606",
            f"erased subjects are still found in {found} listed places; the evidence names them",
            "remove what holds them, or wait for the run that wrote it to end, and finish again",
        )
    return ended


class _Work:
    """One turn of finishing; holds what it learned of doomed segments and of holds."""

    def __init__(
        self,
        workspace: Workspace,
        recorder: Recorder,
        pending: list[ErasureRequest],
        steps: Sequence[Sequence[Mapping[str, Any]]],
    ) -> None:
        self._workspace = workspace
        self._recorder = recorder
        self._pending = pending
        self._names = [request.request for request in pending]
        self._wanted = {
            domain: Wanted.of([r for r in pending if r.domain == domain], indexed=True)
            for domain in {r.domain for r in pending}
        }
        self._held = {domain: np.zeros(wanted.count, bool) for domain, wanted in self._wanted.items()}
        self._holds: list[dict[str, Any]] = []
        # A turn that was killed may have said what it doomed, and not that it is destroyed.
        owed = [facts for each in steps for facts in _since_destroyed(each)]
        self._owed = len(owed) > 0 or any(not each for each in steps)
        self._doomed = {segment for facts in owed for segment in facts.get("doomed", ())}
        self._folders: list[tuple[str, str]] = []

    def rewrite(self) -> None:
        for dataset in dataset_names(self._workspace):
            recover(self._workspace, local_recorder(self._workspace, dataset, "recovery"), dataset)
            self._rewrite(dataset)
            self._doom_left_over(dataset)
        self._free()

    def _rewrite(self, dataset: str) -> None:
        for _ in range(_TRIES):
            holding = find_rows(self._workspace, dataset, self._wanted)
            if holding is None or self._keeps(holding):
                return
            try:
                if holding.any and holding.wanted is not None:
                    rewrite_holding(self._workspace, self._recorder, holding, holding.wanted, self._names)
            except StorageError as fault:
                if fault.code != "GOV-721":
                    raise
                continue
            self._doom(holding)
            return
        raise AccessError(
            "GOV-606",
            f"{dataset} was released again and again while its segments were rewritten",
            "finish the erasure when no pass of this dataset runs",
        )

    def _keeps(self, holding: Holding) -> bool:
        holds = holds_on(self._workspace, holding, now(self._workspace).date())
        if not holds or not holding.any or holding.wanted is None:
            return False
        for domain, mask in holding.wanted.split(holding.subjects):
            self._held[domain] |= mask
        self._holds += [stated_hold(holding.dataset, hold) for hold in holds]
        return True

    def _doom(self, holding: Holding) -> None:
        self._doomed |= holding.current.keys() | holding.earlier | holding.quarantine.keys()
        for segment in holding.current.keys() | holding.earlier | holding.dead:
            self._folders.append((holding.dataset, f"{SEGMENTS}/{segment}"))
            self._folders.append((holding.dataset, f"{MEMBERSHIP}/{segment}"))
        for segment in holding.quarantine.keys() | holding.dead:
            self._folders.append((holding.dataset, f"{QUARANTINE}/{segment}"))

    def _doom_left_over(self, dataset: str) -> None:
        """Indexes of segments that are gone, such as those of a release that failed."""
        storage = self._workspace.dataset_storage(dataset)
        indexed = {path.rpartition("/")[2] for path in storage.list(MEMBERSHIP)}
        for segment in indexed - {path.split("/")[1] for path in storage.list(SEGMENTS)}:
            self._doomed.add(segment)
            self._folders.append((dataset, f"{MEMBERSHIP}/{segment}"))

    def _free(self) -> None:
        """Whose rows no hold keeps any more loses the link too."""
        taken = dict.fromkeys(self._wanted, 0)
        for position, request in enumerate(self._pending):
            start = taken[request.domain]
            taken[request.domain] += len(request.ordinals)
            held = self._held[request.domain][start : taken[request.domain]]
            if not np.array_equal(held, request.held):
                changed = replace(request, held=held)
                keep_request(self._workspace.settings.home, self._workspace.keyring, changed)
                seal_anew(self._workspace.vault, changed, self._workspace.vault.tombstones)
                self._owed = True
                self._pending[position] = changed

    def destroy(self) -> None:
        workspace, keyring = self._workspace, self._workspace.keyring
        finished = {said["request"] for said in stated_tombstones(workspace)} - {*self._names}
        doomed = {*self._doomed, *workspace.vault.retired, *(f"erasure-{name}" for name in finished)}
        if self._owed or self._doomed:
            rotation = keyring.destroy_segment_keys(doomed)
            workspace.vault.close()
            keyring.close()
            refused = sum(not _opens(workspace, key_id) for key_id in rotation.destroyed_keys)
            said = rotation.destruction
            facts = {
                "state": "destroyed",
                "doomed": sorted(self._doomed),
                "epoch": rotation.epoch,
                "keys": len(rotation.destroyed_keys),
                "refused": refused,
                "destruction": {
                    "epochs": list(said.epochs),
                    "confirmed": said.confirmed,
                    "pending": list(said.pending),
                },
                "caches": [
                    "epoch key and vault pages of this process; readers keep no key of a file they closed"
                ],
            }
            record_step(workspace, self._recorder, self._names, facts)
        for dataset, folder in self._folders:
            workspace.dataset_storage(dataset).remove_tree(folder)

    def search(self, identifiers: Mapping[str, pa.Array]) -> list[dict[str, Any]]:
        workspace = self._workspace
        free = {
            domain: Wanted.of([_free_part(r) for r in self._pending if r.domain == domain])
            for domain in self._wanted
        }
        pseudonyms = [text for wanted in free.values() for text in wanted.texts]
        texts = [
            str(value) for values in identifiers.values() for value in values.to_pylist() if value is not None
        ]
        ground = GROUNDS.get(self._pending[0].ground, self._pending[0].ground)
        places = [
            *search_rows(workspace, free, {hold["dataset"] for hold in self._holds}),
            search_vault(workspace, self._pending, identifiers),
            *search_text(workspace, texts, pseudonyms, ground=ground),
        ]
        found = sum(place["found"] > 0 for place in places)
        ended = []
        for request in self._pending:
            held = int(request.held.sum())
            facts = {
                "state": "searched",
                "places": places,
                "found": found,
                "held": held,
                "holds": self._holds if held else [],
                "remains": remaining(),
                "complete": not found,
            }
            record_step(workspace, self._recorder, [request.request], facts)
            ended.append({"request": request.request, **facts})
            if not found and not held:
                drop_request(workspace.settings.home, request.request)
        return ended


def _since_destroyed(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The steps after the last destruction that doom something: rewriting does, and so does sealing the vault anew."""
    states = [facts["state"] for facts in steps]
    last = max((at for at, state in enumerate(states) if state == "destroyed"), default=-1)
    return [facts for facts in steps[last + 1 :] if facts["state"] in ("suppressed", "rewritten")]


def _free_part(request: ErasureRequest) -> ErasureRequest:
    free = ~request.held
    return replace(
        request,
        ordinals=request.ordinals[free],
        internal=request.internal[free],
        released=request.released[free],
        marks=request.marks[free],
        held=request.held[free],
    )


def _opens(workspace: Workspace, key_id: str) -> bool:
    try:
        workspace.keyring.segment_key(key_id)
    except GovernanceError as fault:
        if fault.code != "GOV-303":
            raise
        return False
    return True
