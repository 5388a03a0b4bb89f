"""Findings of models beside those of the rules: a pinned NER model, and CRFs that teams fit on their own notes.

    ready(ner=…, crf=…) -> names and digests of the models asked for, once they load
    supplemented(texts, findings, ner=…, crf=…) -> findings of rules and models, merged
    read_labelled(path, mapping) -> labelled notes
    train(notes, test) -> a model's file, with its scores
    measure(labelled, findings) -> Scores
    contained(batches, found, ner=…, crf=…) -> what models find in the free-text columns of a table
    redact_with_models(texts, known, ner=…, crf=…) -> texts with what rules, models and the row know replaced by tags

Nothing here is imported unless a model is asked for, and nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from governance.detect.learned.crf import CrfLike
from governance.detect.text.engine import TextFinding


def ready(*, ner: bool = False, crf: CrfLike = None) -> tuple[tuple[str, str], ...]:
    """Load the models asked for and give the name and the digest of each; raises as :func:`supplemented` does."""
    named = []
    if ner:
        from governance.detect.learned.ner import load

        named.append((load().name, load().digest))
    if crf is not None:
        from governance.detect.learned.crf import load_model

        named.append(("crf", load_model(crf).digest))
    return tuple(named)


def supplemented(
    texts: Sequence[str], rules: Sequence[list[TextFinding]], *, ner: bool = False, crf: CrfLike = None
) -> list[list[TextFinding]]:
    """The rules' findings with those of the models asked for; lists of length n, without overlaps.

    Of what a CRF was trained on, its findings win over those of the NER model and of the rules.

    Raises:
        SettingError: GOV-902 when an extra is not installed, GOV-121 when a model is not the pinned one, was altered
            or cannot be read.
    """
    from governance.detect.learned.merging import merged

    found = list(rules)
    if ner:
        from governance.detect.learned.ner import load

        found = [merged(r, m) for r, m in zip(found, load().findings(texts), strict=True)]
    if crf is not None:
        from governance.detect.learned.crf import load_model

        model = load_model(crf)
        said = model.findings(texts, rules)
        found = [merged(f, m, model.classifications) for f, m in zip(found, said, strict=True)]
    return found
