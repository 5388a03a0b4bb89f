"""The Java half: Parquet's key client and file opener, compiled against the installed Spark's own jars."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from governance.durable import replace_file
from governance.errors import SettingError

SOURCES = Path(__file__).parent / "java"

JAR = "governance-spark-"

FILES = "governance.spark.SealedFiles"
KEYS = "governance.spark.SegmentKeys"

# The same bytes from the same classes, so that a jar's digest says what is in it.
_MADE = (1980, 1, 1, 0, 0, 0)


def built_jar(directory: Path) -> Path:
    """The jar for the installed Spark, in ``directory``; compiled there when it is missing.

    Raises:
        SettingError: GOV-902 without PySpark or a Java compiler, GOV-901 when compiling fails.
    """
    jars, release = _spark()
    sources = sorted(SOURCES.rglob("*.java"))
    said = hashlib.sha256(release.encode())
    for source in sources:
        said.update(source.read_bytes())
    jar = directory / f"{JAR}{release}-{said.hexdigest()[:16]}.jar"
    if not jar.exists():
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(jar, _compiled(sources, jars))
    return jar


def _spark() -> tuple[Path, str]:
    try:
        import pyspark
    except ImportError:
        raise SettingError(
            "GOV-902", "PySpark is not installed", "pip install 'airflow-governance[spark]'"
        ) from None
    return Path(pyspark.__file__).parent / "jars", pyspark.__version__


def _compiled(sources: list[Path], jars: Path) -> bytes:
    compiler = shutil.which("javac")
    if compiler is None:
        raise SettingError(
            "GOV-902",
            "there is no Java compiler, and Spark's key client is not built yet",
            "install a JDK 17 or newer (Debian: default-jdk-headless), or build the jar elsewhere with "
            "`governance spark build` and copy it into HOME/spark",
        )
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(  # noqa: S603
            [
                *(compiler, "--release", "17", "-proc:none", "-nowarn", "-d", scratch, "-cp", f"{jars}/*"),
                *map(str, sources),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SettingError(
                "GOV-901",
                f"Spark's key client does not compile against the jars in {jars}: {done.stderr[:500]}",
                "install a Spark that pyproject.toml allows",
            )
        archive = Path(scratch) / "made.jar"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as jar:
            jar.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF", _MADE), "Manifest-Version: 1.0\r\n\r\n")
            for found in sorted(Path(scratch).rglob("*.class")):
                jar.writestr(
                    zipfile.ZipInfo(found.relative_to(scratch).as_posix(), _MADE), found.read_bytes()
                )
        return archive.read_bytes()
