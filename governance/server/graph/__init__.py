"""What lies around a node, over HTTP and in Marquez's shapes."""
