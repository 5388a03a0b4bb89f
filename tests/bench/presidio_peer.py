"""Presidio's findings for texts: ``PYTHON presidio_peer.py MODEL_DIRECTORY < texts.json > findings.json``.

Run by an interpreter that has presidio-analyzer, which this project never installs. ``texts.json`` is a list of
strings, ``findings.json`` ``{"seconds": processor time, "spans": [[[start, end, type], …], …]}``.
"""

from __future__ import annotations

import json
import sys
import time

import tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

THRESHOLD = 0.35
"""What Presidio's own documentation and evaluation use."""


def main() -> None:
    # Without this the list of public suffixes would be asked for over the network.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    texts = json.load(sys.stdin)
    nlp = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": sys.argv[1]}],
        ner_model_configuration=NerModelConfiguration(labels_to_ignore=[]),
    )
    nlp.load()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=nlp)
    analyzer = AnalyzerEngine(nlp_engine=nlp, registry=registry, supported_languages=["en"])
    begun = time.process_time()
    spans = []
    for text in texts:
        found = analyzer.analyze(text, language="en", score_threshold=THRESHOLD)
        spans.append([[r.start, r.end, r.entity_type] for r in found])
    json.dump({"seconds": time.process_time() - begun, "spans": spans}, sys.stdout)


if __name__ == "__main__":
    main()
