"""What the SDK takes from the environment. Pure: `from_environment` is given the variables.

The names are those of `procurator.config`, which the SDK does not import: pydantic would cost an agent's start 100 ms.
A test keeps the two alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from procurator.errors import UserError
from procurator.producers.outbox import ON_FULL, OnFull

KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:9092"
SCHEMA_REGISTRY_URL = "http://127.0.0.1:8081/apis/ccompat/v7"


@dataclass(frozen=True, slots=True)
class Defaults:
    """Used where `Procurator` and `Procurator.session` are not told otherwise."""

    kafka_bootstrap_servers: str = KAFKA_BOOTSTRAP_SERVERS
    schema_registry_url: str = SCHEMA_REGISTRY_URL
    org_id: str = "default"
    owner_team_id: str = "default"
    agent_id: str = "agent"
    agent_name: str | None = None
    user_id: str | None = None
    control: str = "on"
    on_full: str = "spool"
    spool_dir: str = "~/.local/state/procurator/spool"
    spool_bytes_max: str = str(1024**3)
    redact: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Defaults":
        """Return the defaults; ``PROCURATOR_ORG_ID`` and so on override them, an empty variable does not."""
        found = {name: environment.get(f"PROCURATOR_{name.upper()}") for name in cls.__slots__}
        return cls(**{name: value for name, value in found.items() if value})

    @property
    def obeys(self) -> bool:
        """Whether sessions obey signals: ``PROCURATOR_CONTROL`` is on or off. Raises UserError for anything else."""
        try:
            return {"on": True, "off": False}[self.control.lower()]
        except KeyError:
            raise UserError(f"PROCURATOR_CONTROL: {self.control!r} is neither on nor off") from None

    @property
    def when_full(self) -> OnFull:
        """What to do with an event for which there is no room. Raises UserError for ``PROCURATOR_ON_FULL`` unknown."""
        for known in ON_FULL:
            if self.on_full.lower() == known:
                return known
        raise UserError(f"PROCURATOR_ON_FULL: {self.on_full!r} is none of {', '.join(ON_FULL)}")

    @property
    def spool_size(self) -> int:
        """How many bytes may be on disk. Raises UserError when ``PROCURATOR_SPOOL_BYTES_MAX`` is no number."""
        try:
            return int(self.spool_bytes_max)
        except ValueError:
            raise UserError(f"PROCURATOR_SPOOL_BYTES_MAX: {self.spool_bytes_max!r} is no number of bytes") from None

    @property
    def rules(self) -> tuple[str, ...]:
        """The built-in detectors that ``PROCURATOR_REDACT`` names, with commas between."""
        return tuple(name.strip() for name in self.redact.split(",") if name.strip())
