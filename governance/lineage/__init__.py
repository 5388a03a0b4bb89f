"""Lineage that can be trusted: OpenLineage events, our signed facets, and the index over the log.

``facets`` and ``signatures`` are the format of evidence, ``recorder`` writes it, ``transport``
carries what other producers send, ``index`` answers questions. Nothing here imports Airflow.
"""
