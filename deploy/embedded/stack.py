"""IO: the whole stack of one data directory as a context manager, for ``up``, ``demo``, tests and benches."""

import base64
import contextlib
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from procurator.config import settings
from procurator.deploy.embedded import components
from procurator.deploy.embedded.components import Plan
from procurator.deploy.embedded.credentials import load_or_create, write_private
from procurator.deploy.embedded.layout import Layout, Ports, free_ports
from procurator.deploy.embedded.provision import Provisions
from procurator.deploy.embedded.supervisor import State, Supervisor
from procurator.errors import ProcuratorError, UserError

_PROPERTIES = Path(__file__).with_name("kafka.properties")
_RESTART_S = 60.0


class StartCancelled(ProcuratorError):
    """The stack was told to stop before it was ready."""


def _silent(_line: str) -> None:
    pass


def _never() -> bool:
    return False


def _as_usual(_plan: Plan) -> str:
    return ""


@dataclass(frozen=True)
class StackConfig:
    """What to run and where. ``say`` gets one line at a time from any thread; ``cancelled`` ends the start.

    ``admin_key`` counts at the first start of a data directory only. ``kafka_properties`` gives more lines of Kafka's
    ``server.properties``, of which the last one of a name counts. ``recording`` is for warm.py.
    """

    data_dir: Path
    ports: Ports = field(default_factory=Ports)
    components: frozenset[str] = components.ALL
    cache_dir: Path = field(default_factory=lambda: settings().cache_dir)
    admin_key: str = ""
    say: Callable[[str], None] = _silent
    cancelled: Callable[[], bool] = _never
    kafka_properties: Callable[[Plan], str] = _as_usual
    recording: bool = False


class Stack:
    """A running stack between ``__enter__``, which returns once all is ready, and ``__exit__``.

    ``with Stack(StackConfig(tmp_path, Ports.free())) as stack: … stack.kafka …``. Entering raises UserError for
    what a user can mend, and StartCancelled; nothing is left running or locked then.
    """

    def __init__(self, config: StackConfig) -> None:
        self.config = config
        self.layout = Layout(config.data_dir.expanduser().absolute())
        self._exit = ExitStack()

    def __enter__(self) -> "Stack":
        with ExitStack() as exit_stack:
            exit_stack.enter_context(_locked(self.layout))
            self.config.ports.require_free(self.config.components)
            self.plan = self._plan()
            self._prepare()
            self._supervisor = Supervisor(
                components.specs(self.plan, self.config.components, self._cluster_id()),
                self.layout.logs,
                self.config.say,
            )
            exit_stack.callback(self._supervisor.stop)
            self._supervisor.start()
            if not self._supervisor.wait_ready(self.config.cancelled):
                raise StartCancelled("stopped before the stack was ready")
            self._exit = exit_stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def _plan(self) -> Plan:
        provisions = Provisions(self.config.cache_dir.expanduser().absolute())
        if not provisions.complete() and self.config.components & {"kafka", "registry"}:
            raise UserError(f"parts are missing in {provisions.cache_dir}; run procurator fetch")
        credentials, new = load_or_create(self.layout.credentials, self.config.admin_key)
        if new and not self.config.admin_key:
            self.config.say(f"admin key, shown this once: {credentials.admin_key} (kept in {self.layout.credentials})")
        if self.config.admin_key not in ("", credentials.admin_key):
            self.config.say(
                f"PROCURATOR_ADMIN_KEY is ignored: {self.layout.data_dir} has an admin key of its own, "
                f"in {self.layout.credentials.name}"
            )
        start_caches = {name: provisions.start_cache(name) for name in ("kafka", "registry")}
        return Plan(
            layout=self.layout,
            ports=self.config.ports,
            controller_port=free_ports(1, besides=asdict(self.config.ports).values())[0],
            credentials=credentials,
            cache_dir=provisions.cache_dir,
            java=provisions.java,
            kafka_jars=provisions.kafka_jars,
            registry_dir=provisions.registry_dir,
            start_caches={name: path for name, path in start_caches.items() if path.exists()},
            recording=self.config.recording,
            inherited=dict(os.environ),
        )

    def _prepare(self) -> None:
        """Write what the processes read."""
        for folder in (self.layout.logs, self.layout.run, *map(self.layout.of, components.INFRASTRUCTURE)):
            folder.mkdir(exist_ok=True)
        properties = _PROPERTIES.read_text(encoding="utf-8") + components.kafka_properties(self.plan)
        properties += self.config.kafka_properties(self.plan)
        (self.layout.of("kafka") / "server.properties").write_text(properties, encoding="utf-8")
        write_private(self.layout.clickhouse_users, self.plan.credentials.users_file())

    def _cluster_id(self) -> str | None:
        """Return an id for Kafka's storage if it is to be formatted: 16 random bytes, as Kafka writes them."""
        if (self.layout.of("kafka") / "data" / "meta.properties").exists():
            return None
        return "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]

    @property
    def kafka(self) -> str:
        """Kafka's bootstrap server, ``host:port``."""
        return self.plan.kafka

    @property
    def registry_url(self) -> str:
        """The base address of the registry's Confluent-compatible API."""
        return self.plan.registry_url

    @property
    def clickhouse_url(self) -> str:
        """ClickHouse's HTTP interface."""
        return self.plan.clickhouse_url

    @property
    def api_url(self) -> str:
        """The query API and the UI."""
        return self.plan.api_url

    @property
    def admin_key(self) -> str:
        """The key of the first administrator, and the password of ClickHouse's user ``admin``."""
        return self.plan.credentials.admin_key

    def password(self, user: str) -> str:
        """Return the ClickHouse password of admin, writer, reader, finops or purger."""
        return self.plan.credentials.password(user)

    def env(self, component: str = "admin") -> dict[str, str]:
        """Return the settings of a component, or of a client that may do everything, as PROCURATOR_* variables."""
        return self.plan.settings_env(component)

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.layout.logs / f"{name}.log"

    def pid(self, name: str) -> int:
        """Return the process id of a running component."""
        process = self._supervisor.child(name).process
        if process is None or process.poll() is not None:
            raise _not_running(name)
        return process.pid

    def kill(self, name: str, number: int) -> None:
        """Send a running component a signal; if that ends it, it is started again."""
        try:
            os.kill(self.pid(name), number)
        except ProcessLookupError:  # It has just ended by itself.
            raise _not_running(name) from None

    def starts(self, name: str) -> int:
        """Return how many times a component has been started."""
        return self._supervisor.child(name).starts

    def is_ready(self, name: str) -> bool:
        """Say whether a component is ready now, as far as the supervisor has seen."""
        return self._supervisor.state(name) is State.READY

    def await_ready(self, name: str, starts: int = 1, timeout_s: float = _RESTART_S) -> None:
        """Wait until a component is ready and has been started at least ``starts`` times; else TimeoutError."""
        child = self._supervisor.child(name)
        if not self._supervisor.await_that(lambda: child.state is State.READY and child.starts >= starts, timeout_s):
            raise TimeoutError(f"{name} is not ready after {timeout_s} s but {child.state.value}")

    def restart(self, name: str, number: int = 15) -> None:
        """End a component with a signal and wait until it is ready again, without the usual pause."""
        starts = self.starts(name)
        self.kill(name, number)
        self._supervisor.child(name).start_now()
        self.await_ready(name, starts + 1)


def _not_running(name: str) -> UserError:
    return UserError(f"{name} does not run now")


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """Make the data directory and hold its lock.

    Raises UserError when it cannot be written or another process holds it.
    """
    try:
        layout.data_dir.mkdir(parents=True, exist_ok=True)
        handle = layout.lock.open("a+")
    except OSError as error:
        raise UserError(
            f"cannot write {layout.data_dir}: {error.strerror}; name another folder with --data-dir"
        ) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            raise UserError(
                f"{layout.data_dir} is in use by process {owner}; stop it, or name another folder with --data-dir"
            ) from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield
        with contextlib.suppress(OSError):
            handle.truncate(0)
