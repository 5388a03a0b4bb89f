"""Findings of models beside those of the rules: a pinned NER model, and CRFs that teams fit on their own notes.

    supplemented(texts, findings, ner=…, crf=…) -> findings of rules and models, merged
    read_labelled(path, mapping) -> labelled notes
    measure(labelled, findings) -> Scores

Nothing here is imported unless a model is asked for, and nothing is ever downloaded.
"""
