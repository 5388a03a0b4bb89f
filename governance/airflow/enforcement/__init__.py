"""What a DAG file may not do, checked where it is parsed: by Airflow itself and by ``governance lint``.

It finds mistakes and says what to write instead. It is no barrier against hostile code, which may touch
data it does not declare: that is what keys from the broker are for.
"""
