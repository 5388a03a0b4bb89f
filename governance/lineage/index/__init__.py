"""The index over the log: facts as tables, folded into what is true at a log size, kept as snapshots."""
