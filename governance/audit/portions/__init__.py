"""The log read by spans, by several processes at once, and kept for the next report."""
