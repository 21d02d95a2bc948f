"""The processes of the embedded stack as specifications: what runs, with which settings, after what. Pure.

The components of ours know nothing of this stack: they get the settings of ``procurator.config`` as environment
variables, as they would on a cluster, each with the ClickHouse user it needs and no more.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from procurator.deploy.embedded.credentials import Credentials
from procurator.deploy.embedded.layout import HOST, Layout, Ports
from procurator.deploy.embedded.probes import file_exists, http_ok, kafka_ready
from procurator.deploy.embedded.process import ProcessSpec
from procurator.errors import UserError
from procurator.runtime import READY_FILE

INFRASTRUCTURE = frozenset({"kafka", "registry", "clickhouse"})
OURS = frozenset({"setup", "stream", "sink", "sign", "api", "forward", "retention"})
ALL = INFRASTRUCTURE | OURS

#: The small compiler and collector: a JVM starts a second faster. Optimising what runs often took Kafka as much of the
#: processors as its work itself, and after 100,000 events had not made that less (`bench e2e`, by thread).
_QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

#: What a JVM that records writes in its working directory.
START_CACHE = "start.aot"
#: Writing it takes long, once.
_STOP_RECORDING_S = 120.0

REGISTRY_PATH = "/apis/ccompat/v7"

#: The ClickHouse user of each component of ours; the others have none.
_CLICKHOUSE_USER = {
    "setup": "admin",
    "sink": "writer",
    "api": "reader",
    "forward": "reader",
    "retention": "purger",
    "admin": "admin",
}
#: What runs a component, where it is not the command of its name.
_COMMAND = {"retention": ("retention", "daily")}
_KNOWS_ADMIN_KEY = frozenset({"setup", "api", "admin"})
_KNOWS_WEBHOOK_KEY = frozenset({"api", "forward"})
#: Not handed down from our own environment: secrets of others, and what would change a JVM.
_NOT_INHERITED = frozenset(
    {
        "PROCURATOR_ADMIN_KEY",
        "PROCURATOR_API_KEY",
        "PROCURATOR_CLICKHOUSE_USER",
        "PROCURATOR_CLICKHOUSE_PASSWORD",
        "PROCURATOR_WEBHOOK_KEY",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "_JAVA_OPTIONS",
        "CLASSPATH",
    }
)


@dataclass(frozen=True)
class Plan:
    """What the specifications are made from.

    ``start_caches`` has those of the JVMs that one was recorded for (see warm.py), and ``recording`` says that
    they are to be recorded now; ``inherited`` is the environment of this process.
    """

    layout: Layout
    ports: Ports
    controller_port: int
    credentials: Credentials
    cache_dir: Path
    java: Path
    kafka_jars: tuple[Path, ...]
    registry_dir: Path
    start_caches: Mapping[str, Path]
    recording: bool
    inherited: Mapping[str, str]

    @property
    def kafka(self) -> str:
        """Kafka's bootstrap server."""
        return f"{HOST}:{self.ports.kafka}"

    @property
    def registry_url(self) -> str:
        """The base address of the registry's Confluent-compatible API."""
        return f"http://{HOST}:{self.ports.registry}{REGISTRY_PATH}"

    @property
    def clickhouse_url(self) -> str:
        """ClickHouse's HTTP interface."""
        return f"http://{HOST}:{self.ports.clickhouse}"

    @property
    def api_url(self) -> str:
        """The query API and the UI."""
        return f"http://{HOST}:{self.ports.api}"

    def base_env(self) -> dict[str, str]:
        """Return what every child inherits."""
        return {name: value for name, value in self.inherited.items() if name not in _NOT_INHERITED}

    def settings_env(self, component: str) -> dict[str, str]:
        """Return the settings of a component of ours; of ``admin``: those of a client that may do everything."""
        env = {
            "PROCURATOR_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "PROCURATOR_SCHEMA_REGISTRY_URL": self.registry_url,
            "PROCURATOR_CLICKHOUSE_URL": self.clickhouse_url,
            "PROCURATOR_API_URL": self.api_url,
            "PROCURATOR_API_HOST": HOST,
            "PROCURATOR_API_PORT": str(self.ports.api),
            "PROCURATOR_DATA_DIR": str(self.layout.data_dir),
            "PROCURATOR_CACHE_DIR": str(self.cache_dir),
        }
        if user := _CLICKHOUSE_USER.get(component):
            env["PROCURATOR_CLICKHOUSE_USER"] = user
            env["PROCURATOR_CLICKHOUSE_PASSWORD"] = self.credentials.password(user)
        if component in _KNOWS_ADMIN_KEY:
            env["PROCURATOR_ADMIN_KEY"] = env["PROCURATOR_API_KEY"] = self.credentials.admin_key
        if component in _KNOWS_WEBHOOK_KEY:
            env["PROCURATOR_WEBHOOK_KEY"] = self.credentials.webhook_key
        return env

    def start_cache_flags(self, component: str) -> tuple[str, ...]:
        """Return the JVM's flags to start from its cache, or to write one when it ends."""
        if self.recording:
            return (f"-XX:AOTCacheOutput={START_CACHE}",)
        if path := self.start_caches.get(component):
            # Below errors it only says which of the cached adapters it makes anew.
            return (f"-XX:AOTCache={path}", "-Xlog:aot*=error")
        return ()

    def ready_file(self, component: str) -> Path:
        """Return the file that a component of ours touches when it is ready."""
        return self.layout.run / f"{component}.ready"


def selection(names: str) -> frozenset[str]:
    """Return the components named in a list with commas, all of them for an empty one; UserError for others."""
    chosen = frozenset(name.strip() for name in names.split(",") if name.strip())
    if unknown := chosen - ALL:
        known = ", ".join(sorted(ALL))
        raise UserError(f"there is no component {', '.join(sorted(unknown))}; there are {known}")
    return chosen or ALL


def kafka_properties(plan: Plan) -> str:
    """Return the lines of ``server.properties`` that belong to this data directory and these ports."""
    controller = f"{HOST}:{plan.controller_port}"
    return (
        f"listeners=PLAINTEXT://{plan.kafka},CONTROLLER://{controller}\n"
        f"advertised.listeners=PLAINTEXT://{plan.kafka}\n"
        f"controller.quorum.voters=1@{controller}\n"
        "log.dirs=data\n"  # in the working directory: the path of a data directory may have commas
    )


def kafka(plan: Plan, cluster_id: str | None) -> list[ProcessSpec]:
    """Return Kafka, after formatting its storage when a ``cluster_id`` is given."""
    folder = plan.layout.of("kafka")
    logging = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.xml')}"
    java = (str(plan.java), "-cp", ":".join(map(str, plan.kafka_jars)), logging)
    format_command = ("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster_id or "")
    format_storage = ProcessSpec(
        "kafka-format",
        (*java, "-Xmx128m", *_QUICK_START, *format_command, "-c", "server.properties"),
        cwd=folder,
        env=plan.base_env(),
        one_shot=True,
    )
    broker = ProcessSpec(
        "kafka",
        (*java, *plan.start_cache_flags("kafka"), "-Xmx512m", *_QUICK_START, "kafka.Kafka", "server.properties"),
        cwd=folder,
        env=plan.base_env(),
        ready=kafka_ready(HOST, plan.ports.kafka),
        depends_on=("kafka-format",),
        stop_s=_STOP_RECORDING_S if plan.recording else 7.0,
    )
    return [broker] if cluster_id is None else [format_storage, broker]


def registry(plan: Plan) -> ProcessSpec:
    """Return Apicurio Registry, its schemas in an H2 file."""
    env = {
        "QUARKUS_HTTP_HOST": HOST,
        "QUARKUS_HTTP_PORT": str(plan.ports.registry),
        "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
        "QUARKUS_MANAGEMENT_HOST": HOST,
        "QUARKUS_MANAGEMENT_PORT": "0",
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "h2",
        # Written before a request is answered: with H2's delay, kill -9 takes back an id that events bear already.
        "APICURIO_DATASOURCE_URL": "jdbc:h2:file:./registry;WRITE_DELAY=0",
        "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "10",
    }
    java = (str(plan.java), "-Xmx256m", *_QUICK_START, *plan.start_cache_flags("registry"))
    return ProcessSpec(
        "registry",
        (*java, "-jar", str(plan.registry_dir / "quarkus-run.jar")),
        cwd=plan.layout.of("registry"),
        env={**plan.base_env(), **env},
        ready=http_ok(HOST, plan.ports.registry, f"{REGISTRY_PATH}/subjects"),
        stop_s=_STOP_RECORDING_S if plan.recording else 5.0,
    )


def clickhouse(plan: Plan) -> ProcessSpec:
    """Return the ClickHouse engine behind its HTTP protocol."""
    folder = plan.layout.of("clickhouse")
    address = ("--host", HOST, "--port", str(plan.ports.clickhouse))
    files = ("--data-dir", str(folder / "data"), "--users", str(plan.layout.clickhouse_users))
    return ProcessSpec(
        "clickhouse",
        (sys.executable, "-m", "procurator.deploy.embedded.clickhouse", *address, *files),
        cwd=folder,
        env=plan.base_env(),
        ready=http_ok(HOST, plan.ports.clickhouse, "/ping"),
        stop_s=7.0,
    )


def ours(plan: Plan, name: str) -> ProcessSpec:
    """Return a component of ours, for most what ``procurator NAME`` runs."""
    ready_file = plan.ready_file(name)
    probe = http_ok(HOST, plan.ports.api, "/readyz") if name == "api" else file_exists(ready_file)
    needs = tuple(sorted(INFRASTRUCTURE))
    return ProcessSpec(
        name,
        (sys.executable, "-m", "procurator", *_COMMAND.get(name, (name,))),
        cwd=plan.layout.of(name),
        env={**plan.base_env(), **plan.settings_env(name), READY_FILE: str(ready_file)},
        ready=probe,
        ready_file=ready_file,
        depends_on=needs if name == "setup" else (*needs, "setup"),
        one_shot=name == "setup",
    )


def specs(plan: Plan, components: frozenset[str], cluster_id: str | None) -> tuple[ProcessSpec, ...]:
    """Return the processes of the chosen components, in the order of a log's reader."""
    chosen: list[ProcessSpec] = []
    if "kafka" in components:
        chosen += kafka(plan, cluster_id)
    if "registry" in components:
        chosen.append(registry(plan))
    if "clickhouse" in components:
        chosen.append(clickhouse(plan))
    return (*chosen, *(ours(plan, name) for name in sorted(OURS & components)))
