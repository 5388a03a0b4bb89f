"""One exception tree with stable codes.

A message says what is wrong, the remedy says what to do. Neither ever holds a value from a
dataset: name the file, the line, the column, the rule and counts, never what stood in a cell.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import ClassVar

CODES = MappingProxyType(
    {
        # 1xx contracts and classification
        "GOV-101": "a contract or policy file cannot be read as YAML",
        "GOV-102": "a contract is not valid",
        "GOV-103": "a contract names a column the source does not have, or the source one it does not name",
        "GOV-104": "a purpose is not in the policy or not allowed by the contract",
        "GOV-105": "the subject column is missing",
        "GOV-106": "a policy is not valid",
        "GOV-107": "a column's content was found to be sensitive and the contract does not declare it",
        "GOV-108": "a sensitive column is protected less than the policy requires",
        "GOV-109": "a column cannot be encrypted as it is named or typed",
        "GOV-110": "a column cannot be classified and the policy refuses unclassified columns",
        "GOV-111": "a sample is smaller than the policy allows",
        "GOV-112": "a file changed after the run pinned its digest",
        "GOV-113": "a file of detectors cannot be read or is not valid",
        "GOV-114": "a detector's pattern is refused: not RE2, matches nothing or everything, too large or too slow",
        "GOV-115": "an example of a detector does not hold",
        "GOV-116": "what singles people out cannot be measured in memory",
        "GOV-118": "a correction of a classification is refused",
        "GOV-119": "a detector contradicts what a person corrected",
        "GOV-121": "a model is not the one pinned, was altered or cannot be read",
        "GOV-122": "labelled notes cannot be read",
        # 2xx consent
        "GOV-201": "a consent ledger file is not valid",
        "GOV-202": "a consent ledger holds overlapping intervals",
        "GOV-203": "the consent ledger or the position asked for does not exist",
        "GOV-204": "consent was withdrawn during the run",
        "GOV-205": "a subject's jurisdiction is unknown to the policy",
        # 3xx protection and keys
        "GOV-301": "no key provider is configured or its key is missing",
        "GOV-302": "the key or passphrase is wrong",
        "GOV-303": "a wrapped key is unknown or was destroyed",
        "GOV-304": "a value cannot be transformed as the contract asks",
        "GOV-305": "a transform is unknown or its parameters are wrong",
        "GOV-306": "a transform did not hold on the output",
        "GOV-307": "the subject vault is damaged or was restored behind the log",
        "GOV-308": "key material was altered",
        "GOV-309": "the key provider cannot be reached or refuses",
        "GOV-310": "the key broker does not grant a key",
        "GOV-311": "the key broker does not answer",
        "GOV-312": "a key has sealed as often as is safe",
        "GOV-316": "a domain is too small for format-preserving encryption",
        "GOV-317": "the rows cannot be made, or are not, as anonymous as the contract asks",
        "GOV-318": "a contract's claim of de-identification does not hold",
        # 4xx validation
        "GOV-401": "an expectation is unknown or its arguments are wrong",
        "GOV-402": "the version does not meet its contract's quality rules",
        "GOV-403": "a denied subject is present in the version",
        "GOV-404": "the version opens without its key",
        "GOV-405": "row counts do not reconcile",
        "GOV-406": "quarantined rows cannot be replayed",
        # 5xx log
        "GOV-501": "the lineage store cannot be reached or opened",
        "GOV-502": "the store is not the one the dataset root names",
        "GOV-503": "the log is not consistent with what was signed before",
        "GOV-504": "a log entry or proof does not verify",
        "GOV-505": "an event was redacted and is refused",
        "GOV-506": "a checkpoint or its signature is not valid",
        "GOV-507": "the evidence needed for release is not in the log",
        "GOV-508": "an event cannot be parsed",
        "GOV-509": "an entry cannot be redacted",
        "GOV-510": "the lineage store is overloaded or shutting down",
        "GOV-511": "the log's key was rotated, or a rotation does not hold",
        "GOV-512": "a witness contradicts the log, or its cosignature is wrong",
        "GOV-513": "a timestamp does not hold or cannot be had",
        "GOV-514": "a witness's key, memory or list of logs cannot be used",
        "GOV-515": "an exported log does not verify or cannot be extended",
        "GOV-516": "archived bodies are not at hand",
        "GOV-517": "an archive does not verify",
        "GOV-518": "bodies may not be archived or pruned as asked",
        "GOV-519": "an archive or export cannot be written",
        "GOV-523": "a snapshot of the index is not used",
        "GOV-524": "a snapshot of the index cannot be written",
        "GOV-525": "the index is still being built",
        "GOV-526": "the outbox is full",
        "GOV-527": "the lineage service does not answer or takes no events",
        "GOV-528": "events wait in the outbox or were refused",
        # 6xx access and disclosure
        "GOV-601": "a recipient is not in the policy",
        "GOV-602": "a disclosure is not permitted by the policy",
        "GOV-603": "the dataset has no released version or not this one",
        "GOV-604": "a disclosure cannot be opened",
        "GOV-605": "an erasure or a readmission is not one that was approved, or its request is not known",
        "GOV-606": "an erasure cannot be finished",
        "GOV-607": "a step of a data subject's request does not fit what the register has of it",
        "GOV-608": "an AI service does not take a disclosure",
        "GOV-609": "tokens of free text may not be turned back into values",
        "GOV-610": "a request to the server carries no valid token",
        "GOV-611": "the token lacks the scope or namespace",
        "GOV-612": "the lineage store knows no such thing",
        "GOV-613": "a request to the server is malformed",
        "GOV-614": "a request's body is too large",
        "GOV-615": "a request's encoding is not supported",
        "GOV-616": "what was asked for was removed",
        "GOV-617": "the path does not take this method; lineage is taken as events only",
        "GOV-641": "a DAG touches a governed dataset outside its stages",
        "GOV-642": "an asset of a DAG cannot be resolved",
        "GOV-643": "stages of a governed run are missing or out of order in a DAG",
        "GOV-644": "a model is trained on what no stage classified",
        "GOV-645": "a DAG file cannot be imported",
        "GOV-646": "a release needs an approval by someone who may give it",
        "GOV-647": "an approval does not fit the version",
        "GOV-648": "a governed task did not return what it declares",
        "GOV-649": "a dataset is only observed, so nothing of it is released",
        # 7xx sources, storage and the run
        "GOV-701": "a source cannot be read",
        "GOV-702": "a source row has the wrong number of fields or is malformed",
        "GOV-703": "a source holds invalid UTF-8",
        "GOV-704": "a source is empty",
        "GOV-705": "a source changed during the run",
        "GOV-706": "a source's kind is unknown",
        "GOV-721": "another release was published first",
        "GOV-722": "a manifest was altered or is not signed by the dataset's key",
        "GOV-723": "a file of a version was altered, swapped, dropped or added",
        "GOV-724": "a storage location cannot be used",
        "GOV-741": "a stage was called out of order or for another run",
        "GOV-742": "a run was opened by another release of this package",
        # 8xx audit
        "GOV-801": "a bundle cannot be read",
        "GOV-802": "a bundle does not verify",
        "GOV-803": "a bundle was checked without a pinned key",
        "GOV-804": "a report is unknown or its parameters are wrong",
        # 9xx configuration
        "GOV-901": "a setting is missing or wrong",
        "GOV-902": "an optional dependency is not installed",
        "GOV-999": "an unexpected fault; its text is withheld because it may quote data",
    }
)


class GovernanceError(Exception):
    """Base of every error raised on purpose.

    Args:
        code: one of :data:`CODES`.
        message: what is wrong and where, without any value from a dataset.
        remedy: what the reader should do next.
    """

    def __init__(self, code: str, message: str, remedy: str) -> None:
        if code not in CODES:
            raise ValueError(f"unknown error code {code}")
        self.code = code
        self.message = message
        self.remedy = remedy
        super().__init__(code, message, remedy)

    def __str__(self) -> str:
        return f"{self.code} {self.message}\n  → {self.remedy}"


class ContractError(GovernanceError):
    """GOV-1xx: the contract, the policy or what was found against them."""


class ConsentError(GovernanceError):
    """GOV-2xx: the consent ledger and its decisions."""


class ProtectionError(GovernanceError):
    """GOV-3xx: transforms, encryption, keys and the vault."""


class ValidationError(GovernanceError):
    """GOV-4xx: the read-back version failed."""


class LogError(GovernanceError):
    """GOV-5xx: the log, its checkpoints and proofs."""


class AccessError(GovernanceError):
    """GOV-6xx: reads and disclosures."""


class SourceError(GovernanceError):
    """GOV-70x: what a run reads."""


class StorageError(GovernanceError):
    """GOV-72x and GOV-74x: where versions live and who may move the pointer."""


class AuditError(GovernanceError):
    """GOV-8xx: reports and bundles."""


class SettingError(GovernanceError):
    """GOV-9xx: configuration."""


class Findings(GovernanceError):
    """Several faults of one file, reported at once."""

    separator: ClassVar[str] = "\n  - "

    def __init__(self, code: str, subject: str, faults: list[str], remedy: str) -> None:
        self.faults = tuple(faults)
        plural = "problem" if len(faults) == 1 else "problems"
        super().__init__(
            code,
            f"{subject}: {len(faults)} {plural}{self.separator}{self.separator.join(faults)}",
            remedy,
        )
        self.args = (code, subject, list(faults), remedy)


class ContractFindings(Findings, ContractError):
    """Every fault of a contract or policy file."""


class ConsentFindings(Findings, ConsentError):
    """Every fault of a consent ledger file."""


class ValidationFindings(Findings, ValidationError):
    """Every fault of a contract's quality rules."""
