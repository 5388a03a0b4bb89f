"""The lineage graph: nodes and edges, what is reached along them, and where a picture puts them."""
