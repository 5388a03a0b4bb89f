"""The lineage store over HTTP: OpenLineage in, Marquez-compatible reads, audit, pages.

One process owns one index; the log behind it may have other writers. Run it with `governance serve`.
"""
