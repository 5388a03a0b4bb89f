"""What a bundle is checked with, and its rows are computed again with."""
