"""Governed training and inference datasets for Apache Airflow.

Importing the package registers nothing and loads no engine: every room is imported by the code
that uses it.
"""

__version__ = "0.1.0"
