"""Findings of models beside those of the rules: a pinned NER model, and CRFs that teams fit on their own notes.

    supplemented(texts, findings, ner=…, crf=…) -> findings of rules and models, merged
    read_labelled(path, mapping) -> labelled notes
    measure(labelled, findings) -> Scores

Nothing here is imported unless a model is asked for, and nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from governance.detect.text import TextFinding


def supplemented(
    texts: Sequence[str], rules: Sequence[list[TextFinding]], *, ner: bool = False
) -> list[list[TextFinding]]:
    """The rules' findings with those of the models asked for; lists of length n, without overlaps.

    Raises:
        SettingError: GOV-902 when an extra is not installed, GOV-121 when weights are not the pinned bytes.
    """
    found = list(rules)
    if ner:
        from governance.detect.learned.merging import merged
        from governance.detect.learned.ner import load

        found = [merged(r, m) for r, m in zip(found, load().findings(texts), strict=True)]
    return found
