"""Opening a run: one instant, one pinned source, one consent position, one contract and policy digest."""

from __future__ import annotations

import base64
import platform
import secrets
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from governance import validate
from governance.contracts import columns_match, load_contract
from governance.detect.detectors.registry import resolve
from governance.detect.learned import ready
from governance.errors import ContractError, LogError
from governance.log import CONTRACT, POLICY
from governance.model.canonical import canonical, parse, timestamp
from governance.model.contract import Contract, RuleScope
from governance.model.evidence import DatasetLineage, Evidence, Recorder, Stage, StageRecord
from governance.model.key_grant import Claim, Operation
from governance.model.policy import Policy
from governance.model.run import OpenedRun, version_id
from governance.pipeline.deidentifying import deidentified
from governance.pipeline.pinned import SEALED, pin_source
from governance.pipeline.pointer import current_version
from governance.pipeline.standing import keep_opened_on
from governance.pipeline.step import SCHEMA, RunReference, event_context, reported, source_types
from governance.pipeline.workspace import Workspace
from governance.storage import Storage

DATASETS = "gov"
"""OpenLineage namespace of governed datasets; with the dataset's name it is the asset URI."""


SUITE = "application/vnd.great-expectations.suite+json"
"""The log's media type of a file of expectations that a contract names by its digest."""


def open_run(
    workspace: Workspace,
    recorder: Recorder,
    *,
    contract_path: Path,
    source: str,
    purpose: str,
    run_id: str,
    map_index: int = -1,
    validated: str | None = None,
) -> RunReference:
    """Pin everything the run stands on and record it.

    Args:
        validated: the digest of a contract that was found to fit the standard a moment ago.
        source: a path or URI that :mod:`governance.sources` can read.
        run_id: the orchestrator's id of this run; with ``map_index`` it makes the version id.

    Raises:
        ContractError: GOV-101 … GOV-109 for the contract, the policy, the purpose or the columns; GOV-113 …
            GOV-115 for a file of detectors that the policy names.
        SettingError: GOV-121, GOV-902 for a model of text that the policy names.
        ValidationError: GOV-401 for quality rules that cannot be judged.
        SourceError: GOV-701 … GOV-706 for the source.
        LogError: GOV-502 when the dataset root names another store; GOV-50x when evidence cannot be logged.
    """
    # What is known before anything was read: a failure to open still says which dataset and run.
    asked = {"dataset": contract_path.name.split(".")[0], "run_id": run_id, "purpose": purpose}
    with reported(recorder, Stage.OPEN, asked):
        policy = workspace.policy
        contract = load_contract(contract_path, policy, validated=validated)
        detectors = resolve(policy.detectors or None)
        text_models = ready(ner=policy.text_ner, crf=policy.text_crf)
        require_purpose(contract, policy, purpose)
        deidentified(contract, policy, workspace.clock(), None)
        snapshot, schema = pin_source(workspace, contract.dataset, source, source_types(contract), purpose)
        for name in contract.subject.columns:
            if name not in schema.names:
                raise ContractError(
                    "GOV-105",
                    f"the source has no column {name}, which names a subject of each row of {contract.dataset}",
                    "add it to the source, or correct `subject` in the contract",
                )
        columns_match(contract, schema.names)
        released_columns(contract)
        validate.check([r for r in contract.rules if r.scope is RuleScope.SOURCE], schema)
        validate.check([r for r in contract.rules if r.scope is RuleScope.PROTECTED])
        storage = workspace.dataset_storage(contract.dataset)
        pin_root(workspace, storage, contract.dataset)
        contract_index = workspace.append_file(contract_path, CONTRACT)
        for name, _ in contract.suites:
            workspace.append_file(contract_path.parent / name, SUITE)
        policy_index = workspace.append_file(workspace.settings.policy, POLICY)
        previous = current_version(workspace, contract.dataset)
        position = workspace.ledger.position
        version = version_id(
            dataset=contract.dataset,
            run_id=run_id,
            map_index=map_index,
            source_digest=snapshot.digest,
            contract_digest=contract.digest,
            policy_digest=policy.digest,
            consent_position=position,
        )
        attempt = secrets.token_hex(4)
        workspace.claim(
            Claim(Operation.OPEN, contract.dataset, purpose, contract.digest, policy.digest, version, attempt)
        )
        run = OpenedRun(
            dataset=contract.dataset,
            kind=contract.kind.value,
            run_id=run_id,
            map_index=map_index,
            attempt=attempt,
            purpose=purpose,
            opened_at=workspace.clock(),
            source=snapshot,
            contract_digest=contract.digest,
            policy_digest=policy.digest,
            consent_position=position,
            version=version,
            previous_version=previous.version if previous else None,
            detectors=tuple((file.name, file.digest) for file in detectors.files),
            run_public_key=base64.b64encode(
                workspace.keyring.run_signer(version, attempt).public_key
            ).decode(),
            corrections_position=workspace.log.size(),
            tombstones=workspace.vault.tombstones,
        )
        reference = RunReference(contract.dataset, version, attempt)
        storage.write(f"{reference.folder}/contract.odcs.yaml", contract_path.read_bytes())
        for name, _ in contract.suites:
            storage.write(f"{reference.folder}/{name}", (contract_path.parent / name).read_bytes())
        storage.write(f"{reference.folder}/{SCHEMA}", schema.serialize().to_pybytes())
        keep_opened_on(workspace, storage, reference, previous)
        storage.write(f"{reference.folder}/run.json", canonical(run.to_json()))
        record = StageRecord(
            Evidence(Stage.OPEN, opened_facts(run, contract, contract_index, policy_index, text_models)),
            event_context(run),
            inputs=(source_lineage(run, [(f.name, str(f.type)) for f in schema]),),
        )
        # The opening is signed by the home's evidence key and names the run's own key for the rest.
        index = recorder.record(record, workspace.keyring.evidence_signer)
        storage.write(
            f"{reference.folder}/{Stage.OPEN}.json",
            canonical({"facts": dict(record.evidence.facts), "log_index": index}),
        )
        recorder.completed(Stage.OPEN, record.context, record)
    return reference


def pin_root(workspace: Workspace, storage: Storage, dataset: str) -> None:
    """Bind a dataset root to this log, once.

    Raises:
        LogError: GOV-502 when the root names another log or evidence key.
    """
    root = {
        "dataset": dataset,
        "log_origin": workspace.log.origin,
        "log_public_key": workspace.vkey,
        "evidence_public_key": base64.b64encode(workspace.evidence_public_key).decode(),
    }
    if not storage.exists("root.json"):
        storage.write("root.json", canonical({**root, "created_at": timestamp(workspace.clock())}))
    named = parse(storage.read("root.json"))
    # A root that was pinned before a key rotation names a key that leads to this one.
    known = workspace.names_own_log(named.get("log_public_key"))
    if not known or any(named.get(key) != root[key] for key in root.keys() - {"log_public_key"}):
        raise LogError(
            "GOV-502",
            f"the root of {dataset} belongs to the log {named.get('log_origin')!r}, not to this store",
            "use the store the root names (GOVERNANCE_STORE), or release into another datasets directory",
        )


def released_columns(contract: Contract) -> tuple[tuple[str, ...], str | None]:
    """The released names of the subjects' pseudonyms, the row's own first, and of the jurisdiction, ``None``
    for a constant one.

    Raises:
        ContractError: GOV-102 when a version would not carry them. Then nobody could show that no denied
            subject is in it, nor restrict its reads after a withdrawal: unknown is never pass.
    """
    where = contract.column(contract.jurisdiction.source_name or "")
    people: list[str] = []
    for name in contract.subject.columns:
        column = contract.column(name)
        if column is None or column.protection.method != "pseudonym":
            raise _undecidable(contract, name, "pseudonym")
        people.append(column.name)
    if contract.jurisdiction.source_name is None:
        return tuple(people), None
    if where is None or where.protection.method != "keep":
        raise _undecidable(contract, contract.jurisdiction.source_name, "keep")
    return tuple(people), where.name


def _undecidable(contract: Contract, column: str, method: str) -> ContractError:
    return ContractError(
        "GOV-102",
        f"contract {contract.dataset} does not release column {column} by `{method}`, "
        "so consent could not be decided again on its versions",
        f"write `protection: {method}` for {column}"
        + (", or name one jurisdiction for the whole dataset" if method == "keep" else ""),
    )


def source_lineage(run: OpenedRun, fields: list[tuple[str, str]]) -> DatasetLineage:
    """The source as OpenLineage names it: namespace ``file``, name the path; a sealed source's is its kind."""
    kind = run.source.kind
    return DatasetLineage(
        namespace=kind if kind in SEALED else "file",
        name=run.source.uri.removeprefix(f"{kind}:"),
        fields=tuple(fields),
        version=run.source.digest,
        size=sum(f.size for f in run.source.files),
    )


def require_purpose(contract: Contract, policy: Policy, purpose: str) -> None:
    """Require that policy and contract know and allow ``purpose``.

    Raises:
        ContractError: GOV-104.
    """
    if purpose not in policy.purposes:
        raise ContractError(
            "GOV-104",
            f"purpose {purpose!r} is not in the policy",
            f"use one of {', '.join(sorted(policy.purposes))}, or have the policy's owner add it",
        )
    if purpose not in contract.purposes:
        raise ContractError(
            "GOV-104",
            f"contract {contract.dataset} does not allow purpose {purpose!r}",
            f"run it for one of {', '.join(contract.purposes)}, or have the contract's owner add it",
        )


def opened_facts(
    run: OpenedRun,
    contract: Contract,
    contract_index: int,
    policy_index: int,
    text_models: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """What the evidence of an opening states."""
    return {
        "source": {
            "kind": run.source.kind,
            "uri": run.source.uri,
            "digest": run.source.digest,
            "files": [{"name": f.name, "size": f.size, "digest": f.digest} for f in run.source.files],
        },
        "contract": {
            "dataset": contract.dataset,
            "title": contract.title,
            "version": contract.version,
            "digest": contract.digest,
            "log_index": contract_index,
        },
        "policy": {"digest": run.policy_digest, "log_index": policy_index},
        "text_models": [{"name": name, "digest": pinned} for name, pinned in text_models],
        "detectors": [{"name": Path(name).name, "digest": pinned} for name, pinned in run.detectors],
        "run_public_key": run.run_public_key,
        "consent_position": run.consent_position,
        "corrections_position": run.corrections_position,
        "previous_version": run.previous_version,
        "engine": {
            "governance": installed("airflow-governance"),
            "python": platform.python_version(),
            "pyarrow": installed("pyarrow"),
            "duckdb": installed("duckdb"),
        },
    }
