"""What classification noticed of free text, handed to the task that redacts the same rows in another process.

Row numbers of the source and which detectors match there, no text and no subject; sealed under a key of its own.
A task that finds none, or one of other detectors, searches the rows again: the result is the same.
"""

from __future__ import annotations

from importlib.metadata import version as installed

from governance.detect.text.noticed import NoticedTexts
from governance.keys.sealing import Altered, Sealer
from governance.model.canonical import canonical, digest
from governance.model.contract import Engine
from governance.pipeline.step import RunContext

_NOTICED = "noticed"
"""The folder below the run's staging folder, and the name of the key."""
_FORM = "governance noticed texts v1"


def hands_over(context: RunContext) -> bool:
    """Whether another process will ask: none does where this one keeps a memory, and none could where keys are at a broker."""
    return (
        context.memory is None
        and not context.workspace.settings.keys
        and not (context.policy.text_ner or context.policy.text_crf)
        and context.contract.engine is Engine.LOCAL
        and any(column.protection.method == "redact" for column in context.contract.columns)
    )


def hand_over(context: RunContext, noticed: NoticedTexts) -> None:
    """Leave it in the run's staging folder."""
    if len(noticed):
        sealed = Sealer(_key(context)).seal(noticed.to_bytes(), _FORM, *_bound(context))
        context.storage.write(_path(context), sealed)


def handed_over(context: RunContext) -> NoticedTexts | None:
    """What an earlier task of this attempt left; ``None`` where there is nothing that fits."""
    if not hands_over(context) or not context.storage.exists(_path(context)):
        return None
    try:
        plain = Sealer(_key(context)).unseal(context.storage.read(_path(context)), _FORM, *_bound(context))
    except Altered:
        return None
    return NoticedTexts.from_bytes(plain)


def discard_noticed(context: RunContext) -> None:
    """The rows are redacted: nobody asks again, and the key, of which there is one a run, goes with the file."""
    if hands_over(context):
        context.storage.remove_tree(f"{context.reference.folder}/{_NOTICED}")
        context.workspace.keyring.forget_segment_key(f"seg.{_segment(context)}.{_NOTICED}")


def _path(context: RunContext) -> str:
    return f"{context.reference.folder}/{_NOTICED}/texts.sealed"


def _key(context: RunContext) -> bytes:
    keys = context.workspace.keyring
    return keys.segment_key(keys.new_segment_key(_segment(context), _NOTICED))


def _segment(context: RunContext) -> str:
    return f"{context.run.version}-{context.run.attempt}-{_NOTICED}"


def _bound(context: RunContext) -> tuple[str, ...]:
    """The attempt, its source and all that decides what a detector's number means and matches."""
    detectors = [
        [d.expression, d.classification, str(d.validator), str(d.sieve)] for d in context.detectors.text
    ]
    known = digest(canonical([installed("airflow-governance"), detectors]))
    return context.run.version, context.run.attempt, context.run.source.digest, known
