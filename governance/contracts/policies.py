"""Reads the governance policy."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from governance.contracts.determinations import determination, determination_faults
from governance.contracts.documents import Document, Pointer, read_document
from governance.contracts.faults import Fault, did_you_mean, findings, without_echoes
from governance.contracts.minimum_necessary import minimum_necessary_faults, review_hours_faults
from governance.contracts.reading import entries, mapping, number, switch, text, texts, whole
from governance.contracts.structure import POLICY, structural_faults
from governance.errors import ContractError
from governance.model.classification import HARMLESS
from governance.model.key_grant import Operation, Workload
from governance.model.legal_hold import LegalHold
from governance.model.policy import AiService, ClassificationRule, Policy, Purpose, Recipient
from governance.model.retention import Period, Retention

METHODS: Final = (
    "keep",
    "drop",
    "constant",
    "mask",
    "pseudonym",
    "token",
    "redact",
    "date_to_year",
    "zip3",
    "age_cap",
    "truncate",
    "bucket",
    "ff1",
    "date_shift",
    "noise",
    "top_code",
    "bottom_code",
)
"""The protection methods that come with the package; a caller that registered more hands in its own."""

_INVALID: Final = "GOV-106"
_KEY_BYTES: Final = 32
_SOME_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Periods of a policy are compared by where they lead to from one day; which one does not matter."""
_SIX_YEARS_BEFORE: Final = Period(years=6).before(_SOME_DAY)
_CODE: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")


def load_policy(
    path: Path | str,
    methods: Collection[str] = METHODS,
    data: bytes | None = None,
    *,
    validated: str | None = None,
) -> Policy:
    """Read, validate and compile the policy.

    Args:
        methods: the protection methods that ``classifications`` may name.
        data: the bytes, where they lie elsewhere than in the local file ``path``.
        validated: the digest of bytes that were found valid before, as a run pins it; they are not validated again.

    Returns:
        the policy; its digest is that of the file's bytes. A classification ``none`` is added at the
        lowest sensitivity unless the file has it. A recipient whose ``publicKeyFile`` does not exist
        yet has no public key: nothing can be disclosed to it.

    Raises:
        ContractError: GOV-101 when the file cannot be read, GOV-106 with every fault.
    """
    document, syntax = read_document(Path(path), data, validated)
    structure = structural_faults(document, (), document.root, POLICY, _INVALID)
    known = without_echoes(syntax, structure)
    faults = without_echoes(known, _Meaning(document, methods).faults())
    if faults:
        raise findings(document.path, faults, _INVALID)
    return _compiled(document)


def _compiled(document: Document) -> Policy:
    root = document.root
    sensitivities = tuple(texts(root, "sensitivities"))
    rules = {
        name: ClassificationRule(
            name, rule["sensitivity"], tuple(rule["protections"]), switch(rule, "specialCategory", False)
        )
        for name, rule in mapping(root, "classifications").items()
    }
    rules.setdefault(HARMLESS, ClassificationRule(HARMLESS, sensitivities[0], ("keep",)))
    return Policy(
        digest=document.digest,
        sensitivities=sensitivities,
        purposes={n: _purpose(n, p) for n, p in mapping(root, "purposes").items()},
        classifications=rules,
        jurisdictions={c: tuple(r) for c, r in mapping(root, "jurisdictions").items()},
        establishment_regimes=tuple(texts(root, "establishmentRegimes")),
        unclassified=text(root, "unclassified") or "refuse",
        minimum_sample=whole(root, "minimumSample", 10_000),
        regions=tuple(texts(root, "regions")),
        recipients={
            n: _recipient(n, r, document.path.parent) for n, r in mapping(root, "recipients").items()
        },
        approvers=tuple(texts(root, "approvers")),
        approval_from=text(root, "approvalFrom"),
        organisation=mapping(root, "organisation"),
        security_measures=tuple(texts(root, "securityMeasures")),
        late_withdrawal_rewrites=whole(root, "lateWithdrawalRewrites", 3),
        retention=tuple(_retention(r, said) for r, said in mapping(root, "retention").items()),
        determinations={
            name: determination(name, said, document.path.parent)
            for name, said in mapping(root, "determinations").items()
        },
        detectors=tuple(str(document.path.parent / name) for name in texts(root, "detectors")),
        text_ner=mapping(root, "textModels").get("ner") is True,
        text_crf=str(document.path.parent / crf)
        if (crf := text(mapping(root, "textModels"), "crf"))
        else None,
        corrections_contested=text(root, "correctionsContested") or "stop",
        contested_probability=number(root, "correctionsContestedProbability", 0.9),
        erasure_days=whole(root, "erasureDays", 30),
        quarantine_days=whole(root, "quarantineDays", 30),
        observed=frozenset(n for n, a in mapping(root, "assets").items() if a["mode"] == "observe"),
        legal_holds=tuple(_legal_hold(h) for h in entries(root, "legalHolds")),
        workloads={n: _workload(n, w, sensitivities[0]) for n, w in mapping(root, "workloads").items()},
    )


def _retention(regime: str, said: Mapping[str, Any]) -> Retention:
    least, most = text(said, "atLeast"), text(said, "atMost")
    return Retention(regime, Period.parse(least) if least else None, Period.parse(most) if most else None)


def _legal_hold(said: Mapping[str, Any]) -> LegalHold:
    until = text(said, "until")
    return LegalHold(
        regime=said["regime"],
        ground=said["ground"],
        datasets=tuple(texts(said, "datasets")),
        domains=tuple(texts(said, "domains")),
        until=date.fromisoformat(until) if until else None,
    )


def _purpose(name: str, said: Mapping[str, Any]) -> Purpose:
    gdpr = mapping(said, "gdpr")
    return Purpose(
        name=name,
        description=said["description"],
        gdpr_basis=text(gdpr, "basis"),
        gdpr_condition=text(gdpr, "condition"),
        hipaa_ground=text(said, "hipaa"),
        ccpa_opt_out=switch(said, "ccpaOptOut", True),
        detokenize=switch(said, "detokenize", False),
    )


def _recipient(name: str, said: Mapping[str, Any], folder: Path) -> Recipient:
    key = text(said, "publicKey")
    if key is None and (file := text(said, "publicKeyFile")) is not None:
        key = _key_in(folder / file)
    return Recipient(
        name=name,
        title=said["title"],
        address=said["address"],
        country=said["country"],
        purposes=tuple(texts(said, "purposes")),
        safeguard=text(said, "safeguard"),
        public_key=key,
        hipaa_role=text(said, "hipaaRole"),
        columns={n: tuple(c) for n, c in mapping(said, "columns").items()} if "columns" in said else None,
        destinations=tuple(texts(said, "destinations")),
        service=AiService(**mapping(said, "service")) if "service" in said else None,
    )


def _workload(name: str, said: Mapping[str, Any], least: str) -> Workload:
    return Workload(
        name=name,
        subjects=tuple(texts(said, "subjects")),
        datasets=tuple(texts(said, "datasets")),
        purposes=tuple(texts(said, "purposes")),
        operations=tuple(map(Operation, texts(said, "operations"))),
        sensitivity=text(said, "sensitivity") or least,
    )


def _key_in(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            key = file.read(1024).strip().decode("ascii")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        key = ""
    if not _is_key(key):
        remedy = "write the recipient's X25519 public key: 32 bytes in base64, on one line"
        raise ContractError("GOV-106", f"{path}: is not a public key", remedy)
    return key


def _is_key(text_: str) -> bool:
    try:
        return len(base64.b64decode(text_, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


class _Meaning:
    """Faults that a schema cannot see."""

    def __init__(self, document: Document, methods: Collection[str]) -> None:
        self._document = document
        self._methods = methods
        self._root = document.root
        self._found: list[Fault] = []

    def faults(self) -> list[Fault]:
        self._classifications()
        self._recipients()
        self._workloads()
        self._organisation()
        self._retention()
        self._legal_holds()
        self._detectors()
        for name, said in mapping(self._root, "determinations").items():
            for key, message in determination_faults(said):
                self._say(("determinations", name, key), message)
        for at, message in (*minimum_necessary_faults(self._root), *review_hours_faults(self._root)):
            self._say(at, message)
        levels = texts(self._root, "sensitivities")
        self._approval(levels)
        unclassified = text(self._root, "unclassified")
        if unclassified is not None and unclassified not in ["refuse", *levels]:
            near = did_you_mean(unclassified, ["refuse", *levels])
            self._say(("unclassified",), f"`{unclassified}` is neither `refuse` nor a sensitivity; {near}")
        return self._found

    def _classifications(self) -> None:
        levels = texts(self._root, "sensitivities")
        for name, rule in mapping(self._root, "classifications").items():
            at: Pointer = ("classifications", name)
            level = text(rule, "sensitivity")
            if level is not None and levels and level not in levels:
                say = f"`{level}` is not among `sensitivities`; {did_you_mean(level, levels)}"
                self._say((*at, "sensitivity"), say)
            for index, method in enumerate(entries(rule, "protections")):
                if isinstance(method, str) and method not in self._methods:
                    say = f"`{method}` is not a protection; {did_you_mean(method, self._methods)}"
                    self._say((*at, "protections", index), say)

    def _recipients(self) -> None:
        purposes = list(mapping(self._root, "purposes"))
        jurisdictions = mapping(self._root, "jurisdictions")
        readable = bool(jurisdictions) and all(
            _CODE.fullmatch(code) and isinstance(regimes, list) and set(map(str, regimes)) <= {"GDPR", "CCPA"}
            for code, regimes in jurisdictions.items()
        )
        protected = {code[:2] for code, regimes in jurisdictions.items() if readable and "GDPR" in regimes}
        for name, said in mapping(self._root, "recipients").items():
            at: Pointer = ("recipients", name)
            for index, purpose in enumerate(entries(said, "purposes")):
                if isinstance(purpose, str) and purposes and purpose not in purposes:
                    say = f"purpose `{purpose}` is not among `purposes`; {did_you_mean(purpose, purposes)}"
                    self._say((*at, "purposes", index), say)
            country = text(said, "country")
            if country and protected and country not in protected and text(said, "safeguard") is None:
                say = (
                    f"`{name}` is in {country}, outside the GDPR, and names no instrument for the transfer; "
                    "write e.g. `safeguard: standard_contractual_clauses`"
                )
                self._say((*at, "country"), say)
            self._key(name, said, at)

    def _key(self, name: str, said: Any, at: Pointer) -> None:
        key, file = text(said, "publicKey"), text(said, "publicKeyFile")
        if key and file:
            self._say((*at, "publicKeyFile"), f"`{name}` has a `publicKey` too; remove one of the two")
        if key and not _is_key(key):
            self._say((*at, "publicKey"), "this is not a key; write 32 bytes in base64")
        if file and (Path(file).is_absolute() or ".." in Path(file).parts or "\0" in file):
            say = "the key file must lie beside the policy or below it; write a relative path without `..`"
            self._say((*at, "publicKeyFile"), say)

    def _workloads(self) -> None:
        purposes, levels = list(mapping(self._root, "purposes")), texts(self._root, "sensitivities")
        owner: dict[str, str] = {}
        for name, said in mapping(self._root, "workloads").items():
            at: Pointer = ("workloads", name)
            for index, purpose in enumerate(entries(said, "purposes")):
                if isinstance(purpose, str) and purposes and purpose not in purposes:
                    say = f"purpose `{purpose}` is not among `purposes`; {did_you_mean(purpose, purposes)}"
                    self._say((*at, "purposes", index), say)
            level = text(said, "sensitivity")
            if level is not None and levels and level not in levels:
                say = f"`{level}` is not among `sensitivities`; {did_you_mean(level, levels)}"
                self._say((*at, "sensitivity"), say)
            for index, subject in enumerate(texts(said, "subjects")):
                if owner.setdefault(subject, name) != name:
                    say = f"this subject is `{owner[subject]}` already; a workload is known by subjects of its own"
                    self._say((*at, "subjects", index), say)

    def _detectors(self) -> None:
        named: list[tuple[Pointer, str]] = [
            (("detectors", index), name) for index, name in enumerate(texts(self._root, "detectors"))
        ]
        crf = text(mapping(self._root, "textModels"), "crf")
        for at, name in [*named, *([(("textModels", "crf"), crf)] if crf else [])]:
            if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
                what = "a file of detectors" if at[0] == "detectors" else "a model"
                self._say(
                    at, f"{what} lies beside the policy or below it; write a relative path without `..`"
                )

    def _organisation(self) -> None:
        organisation = mapping(self._root, "organisation")
        purposes = list(mapping(self._root, "purposes"))
        for index, said in enumerate(entries(organisation, "dataProtectionImpactAssessments")):
            purpose = text(said, "purpose")
            if purpose and purposes and purpose not in purposes:
                at: Pointer = ("organisation", "dataProtectionImpactAssessments", index, "purpose")
                self._say(
                    at, f"purpose `{purpose}` is not among `purposes`; {did_you_mean(purpose, purposes)}"
                )
        owner: dict[str, str] = {}
        for index, controller in enumerate(entries(organisation, "controllers")):
            for place, domain in enumerate(texts(controller, "domains")):
                name = text(controller, "id") or f"controller {index + 1}"
                if owner.setdefault(domain, name) != name:
                    at = ("organisation", "controllers", index, "domains", place)
                    self._say(at, f"domain `{domain}` already belongs to `{owner[domain]}`; name it once")

    def _retention(self) -> None:
        for regime, said in mapping(self._root, "retention").items():
            at: Pointer = ("retention", regime)
            if not isinstance(said, Mapping):
                continue
            cutoffs = {}
            for bound in ("atLeast", "atMost"):
                period = text(said, bound)
                try:
                    cutoffs[bound] = Period.parse(period).before(_SOME_DAY) if period else None
                except ValueError:
                    self._say((*at, bound), f"`{period}` is not a period; write e.g. `{bound}: P6Y`")
            least, most = cutoffs.get("atLeast"), cutoffs.get("atMost")
            if least and most and least < most:
                self._say(
                    (*at, "atMost"),
                    f"`{regime}` is to be kept for longer than it may be; write the longer one as `atMost`",
                )
            if regime == "HIPAA" and "atLeast" in cutoffs and (least is None or least > _SIX_YEARS_BEFORE):
                say = "HIPAA documentation is kept six years (45 CFR 164.316(b)(2)(i)); write `atLeast: P6Y`"
                self._say(at if least is None else (*at, "atLeast"), say)

    def _approval(self, levels: list[str]) -> None:
        level = text(self._root, "approvalFrom")
        if level is None:
            return
        if level not in levels:
            say = f"`{level}` is not among `sensitivities`; {did_you_mean(level, levels)}"
            self._say(("approvalFrom",), say)
        if not texts(self._root, "approvers"):
            self._say(("approvalFrom",), "releases need approval and nobody may give it; name `approvers`")

    def _legal_holds(self) -> None:
        for index, hold in enumerate(entries(self._root, "legalHolds")):
            until = text(hold, "until")
            try:
                date.fromisoformat(until or "2026-01-01")
            except ValueError:
                self._say(("legalHolds", index, "until"), f"`{until}` is not a day; write e.g. `2031-12-31`")

    def _say(self, at: Pointer, message: str) -> None:
        self._found.append(Fault(self._document.at(at), message, _INVALID))
