"""Where the embedded stack keeps things and which ports it uses. Pure, but for trying out ports."""

import random
import socket
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path

from procurator.errors import UserError

HOST = "127.0.0.1"
_PORT_MAX = 65535
#: Free ports are looked for below the range that kernels hand out to clients, so that none is taken meanwhile.
_FREE_PORTS = range(15_000, 32_000)


@dataclass(frozen=True)
class Layout:
    """The folders and files of one data directory."""

    data_dir: Path

    @property
    def lock(self) -> Path:
        """Held while a stack runs; contains its process id."""
        return self.data_dir / "lock"

    @property
    def logs(self) -> Path:
        """``<name>.log`` of each process."""
        return self.data_dir / "logs"

    @property
    def run(self) -> Path:
        """What only matters while the stack runs."""
        return self.data_dir / "run"

    @property
    def credentials(self) -> Path:
        """The admin key and the passwords; readable by the owner alone."""
        return self.data_dir / "credentials.json"

    @property
    def clickhouse_users(self) -> Path:
        """Whom the ClickHouse endpoint lets in."""
        return self.of("clickhouse") / "users.json"

    def of(self, component: str) -> Path:
        """Return a component's own folder, which is its working directory."""
        return self.data_dir / component


@dataclass(frozen=True)
class Ports:
    """The ports a stack listens on, all on the loopback address."""

    kafka: int = 9092
    registry: int = 8081
    clickhouse: int = 8123
    api: int = 8080

    def shifted(self, offset: int) -> "Ports":
        """Return every port plus ``offset``; UserError if one leaves the range of ports."""
        ports = Ports(**{name: port + offset for name, port in asdict(self).items()})
        for name, port in asdict(ports).items():
            if not 0 < port <= _PORT_MAX:
                raise UserError(
                    f"port {port} ({name}) is not in 1–{_PORT_MAX}; "
                    f"change --port-offset or PROCURATOR_{name.upper()}_PORT"
                )
        return ports

    @staticmethod
    def free() -> "Ports":
        """Return ports that nothing listens on now."""
        names = [field.name for field in fields(Ports)]
        return Ports(**dict(zip(names, free_ports(len(names)), strict=True)))

    def require_free(self, components: frozenset[str]) -> None:
        """Raise UserError naming every port that is taken, or wanted twice, and whose it would have been."""
        wanted = {name: port for name, port in asdict(self).items() if name in components}
        for name, port in wanted.items():
            if other := next((n for n, p in wanted.items() if p == port and n != name), None):
                raise UserError(f"{name} and {other} cannot share port {port}; set PROCURATOR_{name.upper()}_PORT")
        taken = [(name, port) for name, port in wanted.items() if not can_listen(port)]
        if taken:
            what = ", ".join(f"port {port} ({name})" for name, port in taken)
            hints = " or ".join(f"PROCURATOR_{name.upper()}_PORT" for name, _ in taken)
            verb = "is" if len(taken) == 1 else "are"
            raise UserError(f"{what} {verb} in use; use --port-offset N, or set {hints}")


def free_ports(count: int, besides: Collection[int] = ()) -> list[int]:
    """Return ``count`` different ports that nothing listens on now, none of them in ``besides``."""
    tried = (port for port in random.sample(_FREE_PORTS, 50 + count) if port not in besides)
    found = list(islice(filter(can_listen, tried), count))
    if len(found) < count:
        raise UserError(f"cannot find {count} free ports on {HOST}")
    return found


def can_listen(port: int) -> bool:
    """Say whether a server could listen on the port now."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
        except OSError:
            return False
        return True
