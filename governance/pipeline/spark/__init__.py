"""The rewriting pass, and reads, on Spark: rows are worked on in its Python workers and never enter its JVM."""
