"""What a governed process stands on: log, keys, vault, consent ledger, policy, dataset roots."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from governance import __version__
from governance.config import Settings
from governance.consent import ConsentLedger
from governance.contracts import load_policy
from governance.errors import LogError, SettingError
from governance.keys.broker import BrokeredKeyring
from governance.keys.providers.provider import provider_for
from governance.keys.store import Keyring
from governance.keys.vault.vault import SubjectVault
from governance.log import CONSENT_BATCH, GENESIS, Checkpoint, CheckpointSigner, Log, NewEntry, open_storage
from governance.log.note import VerifierKey, vkey_of
from governance.log.rotation import Term, follow, handovers, rotate
from governance.log.storage import Storage as LogStorage
from governance.log.witnesses.trust import FILE as WITNESSES
from governance.log.witnesses.trust import Trust
from governance.model.canonical import canonical, parse, timestamp
from governance.model.dataset import Manifest
from governance.model.evidence import Signer
from governance.model.key_grant import Claim
from governance.model.policy import Policy
from governance.pipeline.tombstones import carry_out, tombstones
from governance.storage import Storage, storage_for

PRODUCER = f"urn:airflow-governance:{__version__}"
"""OpenLineage ``producer`` of everything we emit."""

PIPELINE = "evidence:pipeline"
OPERATOR = "admin:cli"

_DATASET_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def now() -> datetime:
    """The system clock; steps receive it, none of them calls it."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Workspace:
    """Opened stores of one governance home. Make one a process; it is not shared between processes."""

    settings: Settings
    log: Log
    keyring: Keyring
    vault: SubjectVault
    ledger: ConsentLedger
    signer: CheckpointSigner
    clock: Callable[[], datetime] = field(default=now, repr=False)

    @classmethod
    def create(cls, settings: Settings, *, origin: str, clock: Callable[[], datetime] = now) -> Workspace:
        """Make the stores of a new home around an existing key-encryption key.

        Args:
            origin: the log's name, e.g. ``governance.example/meridian``; it stands in every checkpoint.

        Raises:
            SettingError: GOV-901 when the home already holds stores.
            ProtectionError: GOV-301, GOV-302 for the key.
        """
        if (settings.home / "keys").exists():
            raise SettingError(
                "GOV-901",
                f"{settings.home} already holds a governance home",
                "open it as it is, or name another directory",
            )
        settings.home.mkdir(parents=True, exist_ok=True)
        provider = provider_for(settings.kek, settings.passphrase)
        keyring = Keyring.create(settings.home / "keys", provider)
        vault = SubjectVault.create(settings.home / "vault", keyring, postgres=shared_database(settings))
        ledger = ConsentLedger.create(settings.home / "consent", postgres=shared_database(settings))
        storage = open_storage(settings.store, create=True, origin=origin)
        signer = _signer(settings, keyring, origin)
        log = Log(storage, signer=signer, clock=clock, witnesses=_witnesses(settings))
        workspace = cls(settings, log, keyring, vault, ledger, signer, clock)
        genesis = {
            "origin": origin,
            "log_public_key": workspace.vkey,
            "evidence_public_key": base64.b64encode(keyring.evidence_signer.public_key).decode(),
            "created_at": timestamp(clock()),
        }
        log.append([NewEntry(canonical(genesis), GENESIS, OPERATOR)])
        log.checkpoint()
        return workspace

    @classmethod
    def open(
        cls, settings: Settings, *, clock: Callable[[], datetime] = now, read_only: bool = False
    ) -> Workspace:
        """Open the stores of a home.

        Args:
            read_only: finish nothing that was left half done and remember nothing: the home stays as it is, but that a
                vault whose move was killed arrives, without which there is none.

        Raises:
            ProtectionError: GOV-301 without a key, GOV-302 for a wrong one; GOV-310, GOV-311 by a broker;
                GOV-307 for a vault from before an erasure that the log knows.
            LogError: GOV-501 when the store cannot be opened, GOV-502 when it is another home's.
        """
        keyring, vault = _kept(settings)
        storage = open_storage(settings.store)
        signer = _signer(settings, keyring, storage.origin)
        # The broker that signs for a process also asks the witnesses.
        log = Log(
            storage, signer=signer, clock=clock, witnesses=None if settings.keys else _witnesses(settings)
        )
        # An import that was killed between its leaf and its head is completed, not lost.
        record = None if read_only else lambda body: _leaf(log, body)
        ledger = ConsentLedger.open(
            settings.home / "consent",
            record=record,
            postgres=shared_database(settings),
            publish=not read_only,
        )
        workspace = cls(settings, log, keyring, vault, ledger, signer, clock)
        workspace._require_own_log()
        if read_only:
            vault.expects(len(tombstones(log, settings.home, remember=False)))
        elif not settings.keys:
            carry_out(log, keyring, vault, settings.home)
        return workspace

    @property
    def vkey(self) -> str:
        """The log's public key as a note verifier key: what people pin. A rotation changes it."""
        return self.signer.vkey

    @cached_property
    def trust(self) -> Trust:
        """The witnesses and timestamp authorities that this home asks. Raises GOV-901."""
        return Trust.read(self.settings.home / WITNESSES)

    @property
    def terms(self) -> list[Term]:
        """The log's public keys, the first to the one that signs now, each with its span of tree sizes.

        Raises:
            LogError: GOV-511 when the store holds rotations that contradict each other.
        """
        last = self.signer.last()
        # A process that was killed may have left the newest handover in the signer's memory only.
        return follow(
            VerifierKey.parse(self.vkey), handovers(self.log.storage, () if last is None else (last.note,))
        )

    def close(self) -> None:
        """Close the stores; SQLite then takes its side files away."""
        self.log.close()
        self.vault.close()
        self.keyring.close()

    def rotate_log_key(self) -> Checkpoint:
        """Hand the log over to a new key; return the checkpoint that the old and the new one signed.

        Killed at any point, the old key goes on or the new one does; then call it again, or do not.

        Raises:
            LogError: GOV-503 when the log does not extend what was signed before.
        """
        successor = self.keyring.make_next_log_signer()
        _, checkpoint = rotate(self.log, self.signer, successor, self.clock(), OPERATOR)
        self.keyring.promote_log_signer(successor.public_key)
        return checkpoint

    def names_own_log(self, vkey: object) -> bool:
        """Whether a public key is, or before a rotation was, the one of this home's log."""
        return vkey == self.vkey or vkey in [str(term.key) for term in self.terms]

    def claim(self, claim: Claim) -> None:
        """Say what keys are used for from here on; a key store of one's own need not be told.

        Raises:
            ProtectionError: GOV-310, GOV-311 by a broker; GOV-307 for a vault from before an erasure.
        """
        if isinstance(self.keyring, BrokeredKeyring):
            self.keyring.claim(claim)
            # Before there was a claim there was no key to look into the vault with.
            self.vault.expects(len(tombstones(self.log, self.settings.home)))

    def expect_keys(self, manifest: Manifest) -> None:
        """Say that a version is about to be read, so that a broker is asked for many of its keys at once."""
        if isinstance(self.keyring, BrokeredKeyring):
            self.keyring.expect(key for segment in manifest.segments for key in segment.key_ids.values())

    @property
    def readings(self) -> Path:
        """Where reports keep what they read of the log."""
        return self.settings.home / "readings"

    @cached_property
    def policy(self) -> Policy:
        """The policy as its file stands now; a run pins its digest."""
        return load_policy(self.settings.policy)

    def pinned_policy(self, digest: str) -> Policy:
        """The same; bytes that a run found valid and pinned are not validated again in this process."""
        if "policy" not in vars(self):
            vars(self)["policy"] = load_policy(self.settings.policy, validated=digest)
        return self.policy

    @cached_property
    def evidence_public_key(self) -> bytes:
        """32 bytes: the key that opens runs, signs manifests and disclosures."""
        return self.keyring.evidence_signer.public_key

    def dataset_storage(self, dataset: str) -> Storage:
        """The root of one dataset. Its name is a lower-case identifier, so it is safe in a path."""
        if not _DATASET_NAME.fullmatch(dataset):
            raise SettingError(
                "GOV-901",
                "a dataset's name is not a lower-case identifier",
                "use letters, digits and underscores, starting with a letter",
            )
        return storage_for(f"{self.settings.datasets.rstrip('/')}/{dataset}")

    def append_file(self, path: Path, media_type: str) -> int:
        """Make a contract or policy file a leaf; the same bytes keep their first index."""
        return self.log.append([NewEntry(path.read_bytes(), media_type, PIPELINE)])[0]

    def append_json(self, value: dict[str, Any], media_type: str, principal: str = OPERATOR) -> int:
        return self.log.append([NewEntry(canonical(value), media_type, principal)])[0]

    def _require_own_log(self) -> None:
        genesis = self.log.entry(0) if self.log.size() else None
        try:
            named = parse(genesis.body or b"{}") if genesis is not None else {}
        except ValueError:
            named = {}
        own = base64.b64encode(self.evidence_public_key).decode()
        stated = named if isinstance(named, dict) else {}
        if stated.get("evidence_public_key") != own or not self.names_own_log(stated.get("log_public_key")):
            raise LogError(
                "GOV-502",
                f"the store at {self.settings.store} was not opened by this home's keys",
                "point GOVERNANCE_STORE (or --store) at the store made with this home",
            )


def _kept(settings: Settings) -> tuple[Keyring, SubjectVault]:
    if settings.keys:
        from governance.pipeline.brokered import open_brokered

        return open_brokered(settings, shared_database(settings))
    keyring = Keyring.open(settings.home / "keys", provider_for(settings.kek, settings.passphrase))
    return keyring, SubjectVault.open(settings.home / "vault", keyring, postgres=shared_database(settings))


def shared_database(settings: Settings) -> str | None:
    """The database that keeps vault and consent ledger's heads too, where the log is in one."""
    return settings.store if settings.store.startswith(("postgresql:", "postgres:")) else None


def _leaf(log: Log, body: dict[str, Any]) -> int:
    return log.append([NewEntry(canonical(body), CONSENT_BATCH, OPERATOR)])[0]


def _witnesses(settings: Settings) -> Callable[[LogStorage, Checkpoint], Checkpoint] | None:
    trust = Trust.read(settings.home / WITNESSES)
    if not trust.witnesses:
        return None
    from governance.log.witnesses.client import WitnessClient

    return WitnessClient(trust).cosigned


def _signer(settings: Settings, keyring: Keyring, origin: str) -> CheckpointSigner:
    memory = settings.home / "signer" / (re.sub(r"[^a-z0-9]+", "-", origin.lower()).strip("-") + ".note")
    if isinstance(keyring, BrokeredKeyring):
        from governance.pipeline.brokered import BrokerCheckpoints

        return BrokerCheckpoints(keyring, origin, memory)

    def reload(vkey: str) -> Signer:
        following = keyring.next_log_signer
        if following is not None and vkey_of(origin, following.public_key) == vkey:
            # A rotation was killed after its checkpoint was signed: it is finished here.
            keyring.promote_log_signer(following.public_key)
        return keyring.log_signer

    return CheckpointSigner(keyring.log_signer, origin, memory, reload)
