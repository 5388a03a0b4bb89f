"""What contracts and policy say, as far as parsing a DAG needs it, from caches named by their digests.

A cache spares time and is no authority: a run's opening reads and checks the files themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance import __version__
from governance.config import Settings
from governance.durable import replace_file
from governance.errors import GovernanceError
from governance.model.canonical import canonical, digest, parse

if TYPE_CHECKING:
    from governance.model.contract import Contract

_ENDINGS = (".odcs.yaml", ".odcs.yml")


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """Of the policy: its purposes, what each recipient may receive data for, and datasets it only observes."""

    purposes: frozenset[str]
    recipients: Mapping[str, frozenset[str]]
    observed: frozenset[str] = frozenset()


class Known:
    """The home's contracts and policy. Nothing here opens the store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._contracts = settings.home / "contracts"

    @property
    def datasets(self) -> frozenset[str]:
        """Names of the datasets that have a contract."""
        try:
            files = [entry.name for entry in self._contracts.iterdir()]
        except OSError:
            return frozenset()
        return frozenset(name.split(".")[0] for name in files if name.endswith(_ENDINGS))

    @property
    def roots(self) -> tuple[str, ...]:
        """Where versions lie: the storage's own URI, and as a file URI where it is a path."""
        root = self._settings.datasets
        return (root,) if "://" in root else (root, Path(root).absolute().as_uri())

    def contract(self, file: str) -> Contract:
        """A contract by its file in the home's ``contracts``.

        Raises:
            ContractError: it does not load.
        """
        from governance.contracts import load_compiled

        return load_compiled(self._contracts / file, self._settings.home / "cache" / "contracts")

    @property
    def observed(self) -> frozenset[str]:
        """Datasets whose violations are reported and refuse nothing; none where the policy does not load."""
        try:
            return self.policy.observed
        except GovernanceError:
            return frozenset()

    @cached_property
    def policy(self) -> PolicyNames:
        """What the policy names.

        Raises:
            ContractError: it does not load.
        """
        path = self._settings.policy
        entry = None
        with contextlib.suppress(OSError):
            found = digest(path.read_bytes())
            entry = (
                self._settings.home / "cache" / f"policy-{__version__}-{found.removeprefix('sha256:')}.json"
            )
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                return _names(parse(entry.read_bytes()))
        from governance.contracts import load_policy

        policy = load_policy(path)
        said = {
            "purposes": sorted(policy.purposes),
            "recipients": {name: sorted(r.purposes) for name, r in policy.recipients.items()},
            "observed": sorted(policy.observed),
        }
        if entry is not None and policy.digest == found:
            with contextlib.suppress(OSError):
                entry.parent.mkdir(parents=True, exist_ok=True)
                replace_file(entry, canonical(said))
        return _names(said)


def _names(said: Mapping[str, Any]) -> PolicyNames:
    return PolicyNames(
        frozenset(said["purposes"]),
        {name: frozenset(may) for name, may in said["recipients"].items()},
        frozenset(said["observed"]),
    )
