"""Which engine a run takes, and what a Spark session has to be like before it may touch personal data."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from governance.config import spark_master
from governance.errors import SettingError
from governance.pipeline.spark.jar import JAR, built_jar

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REQUIRED = {
    # Shuffle files, spilled blocks and broadcast files are encrypted with a key that lives in the application.
    "spark.io.encryption.enabled": "true",
    "spark.io.encryption.keySizeBits": "256",
}
"""A session without these is refused."""

REQUIRED_ON_A_CLUSTER = {
    # Otherwise the key of the above crosses the network in clear.
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
}
"""A session whose executors are not in this process is refused without these too."""

_ALONE = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


def settings(master: str) -> dict[str, str]:
    """What a Spark session at ``master`` needs to be configured with."""
    return {
        **REQUIRED,
        # Values must not reach a log by way of a plan or an error that shows them.
        "spark.sql.debug.maxToStringFields": "0",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **(_ALONE if _is_local(master) else REQUIRED_ON_A_CLUSTER),
    }


def read_settings(home: Path, master: str) -> dict[str, str]:
    """The same for a session that reads released versions; builds the Java half in ``home`` at first use.

    Raises:
        SettingError: GOV-901, GOV-902, for the Java half.
    """
    return {**settings(master), "spark.jars": str(built_jar(home / "spark"))}


def session() -> SparkSession:
    """The process's Spark session if it has one, else one at ``GOVERNANCE_SPARK_MASTER``.

    Raises:
        SettingError: GOV-901 when the session is not fit for personal data, GOV-902 when PySpark is missing.
    """
    if not installed():
        raise SettingError("GOV-902", "PySpark is not installed", "pip install 'airflow-governance[spark]'")
    from pyspark.sql import SparkSession

    found = SparkSession.getActiveSession()
    if found is None:
        master = spark_master()
        builder = SparkSession.builder.appName("governance").master(master)
        found = builder.config(map=dict(settings(master))).getOrCreate()
        found.sparkContext.setLogLevel("ERROR")
    require_fit(found)
    return found


def require_fit(session: SparkSession, *, reads: bool = False) -> None:
    """Refuse a session that would write personal data in clear, or that ``reads`` without the Java half.

    Raises:
        SettingError: GOV-901 naming what it lacks.
    """
    configured, master = session.sparkContext.getConf(), session.sparkContext.master or ""
    required = REQUIRED if _is_local(master) else REQUIRED | REQUIRED_ON_A_CLUSTER
    lacking = [name for name, value in required.items() if configured.get(name) != value]
    if reads and JAR not in (configured.get("spark.jars") or ""):
        lacking.append("spark.jars")
    if lacking:
        raise SettingError(
            "GOV-901",
            f"the Spark session is not set up for personal data: {', '.join(lacking)}",
            "make it with the settings that governance.pipeline.spark.session.read_settings gives",
        )
    if _is_local(master):
        # Without PYSPARK_PYTHON Spark runs whatever `python3` is.
        session.sparkContext.pythonExec = sys.executable


def _is_local(master: str) -> bool:
    return master == "local" or master.startswith("local[")


def installed() -> bool:
    """Whether PySpark is there."""
    return find_spec("pyspark") is not None
