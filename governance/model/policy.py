"""A compiled governance policy: one file, signed off by people, for all datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from governance.model.deidentification import Determination
from governance.model.key_grant import Workload
from governance.model.legal_hold import LegalHold
from governance.model.retention import Retention


@dataclass(frozen=True, slots=True)
class Purpose:
    """A purpose and the ground it stands on in each regime.

    ``gdpr_basis``: ``consent``, ``contract``, ``legal_obligation``, ``vital_interests``,
    ``public_task`` or ``legitimate_interests`` (Art. 6(1)). ``gdpr_condition``: the Art. 9(2)
    condition for special categories, or ``None``. ``hipaa_ground``: ``authorization``, or the
    exception ``treatment``, ``payment``, ``operations`` (45 CFR 164.506), ``research_waiver``
    (164.512(i)), ``limited_data_set`` (164.514(e)), ``public_health`` or ``health_oversight`` (164.512(b), (d)),
    or ``None``: not permitted.
    ``ccpa_opt_out``: whether a consumer's opt-out stops it (Cal. Civ. Code 1798.120). ``detokenize``: whether a
    governed read for it may turn tokens of free text back into values.
    """

    name: str
    description: str
    gdpr_basis: str | None
    gdpr_condition: str | None
    hipaa_ground: str | None
    ccpa_opt_out: bool
    detokenize: bool = False


@dataclass(frozen=True, slots=True)
class ClassificationRule:
    """What the policy asks of a classification: its level and the protections that are enough."""

    name: str
    sensitivity: str
    protections: tuple[str, ...]
    special_category: bool = False


@dataclass(frozen=True, slots=True)
class AiService:
    """A batch endpoint of a provider of models: ``kind`` is ``azure-openai``, ``bedrock`` or ``vertex-ai``.

    ``region`` is where the provider answers; ``bucket`` where Bedrock and Vertex AI read batches, ``role`` the one
    that Bedrock reads it as, ``project`` Vertex AI's. ``instructions`` go before every record. ``endpoint``
    replaces the provider's address of that region.
    """

    kind: str
    region: str
    model: str
    endpoint: str | None = None
    bucket: str | None = None
    role: str | None = None
    project: str | None = None
    instructions: str | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """``public_key`` is the recipient's X25519 key (base64, 32 bytes): disclosures are sealed to it.

    ``columns`` are those it may receive by dataset, ``None`` for all; ``destinations`` URIs below which its
    disclosures may be exported. A ``service`` reads what it is sent: nothing is sealed.
    """

    name: str
    title: str
    address: str
    country: str
    purposes: tuple[str, ...]
    safeguard: str | None
    public_key: str | None
    hipaa_role: str | None = None
    columns: Mapping[str, tuple[str, ...]] | None = None
    destinations: tuple[str, ...] = ()
    service: AiService | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled policy. ``jurisdictions`` maps a code such as ``DE`` or ``US-CA`` to regimes.

    ``sensitivities`` is ordered, least first. ``unclassified`` is ``refuse`` or a sensitivity.
    ``organisation`` holds the declarations that reports quote (controller, DPO, address …). ``retention``
    says how long the lineage log keeps the bodies of events; without it none may be pruned. ``detectors``
    are paths of the organisation's own files of detectors. ``text_ner`` and ``text_crf`` are the models that
    redaction asks beside the rules: the pinned one of names, and ``PATH@sha256:…`` of one's own.
    ``approval_from`` is the sensitivity from which on a release has to be approved by one of ``approvers``.
    ``corrections_contested`` is ``stop`` or ``report``: what a run does where a detector is at least
    ``contested_probability`` sure of what a person corrected. ``workloads`` are those that the key broker knows.
    ``erasure_days`` is within how many days an erasure must have reached the segments; ``legal_holds`` keep rows.
    ``determinations`` are experts', by name.
    ``observed`` are the datasets of which refusals are reported and nothing is released.
    ``quarantine_days`` is how long rows that were set aside may wait to be replayed.
    """

    digest: str
    sensitivities: tuple[str, ...]
    purposes: Mapping[str, Purpose]
    classifications: Mapping[str, ClassificationRule]
    jurisdictions: Mapping[str, tuple[str, ...]]
    establishment_regimes: tuple[str, ...]
    unclassified: str
    minimum_sample: int
    regions: tuple[str, ...]
    recipients: Mapping[str, Recipient]
    approvers: tuple[str, ...]
    organisation: Mapping[str, Any]
    security_measures: tuple[str, ...]
    late_withdrawal_rewrites: int = 3
    retention: tuple[Retention, ...] = ()
    detectors: tuple[str, ...] = ()
    text_ner: bool = False
    text_crf: str | None = None
    approval_from: str | None = None
    corrections_contested: str = "stop"
    contested_probability: float = 0.9
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    erasure_days: int = 30
    quarantine_days: int = 30
    observed: frozenset[str] = frozenset()
    legal_holds: tuple[LegalHold, ...] = ()
    determinations: Mapping[str, Determination] = field(default_factory=dict)

    def sensitivity(self, classification: str) -> str:
        """The level of a classification; the highest for one the policy does not list."""
        rule = self.classifications.get(classification)
        return rule.sensitivity if rule else self.sensitivities[-1]
