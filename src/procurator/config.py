"""Settings: environment variables prefixed ``PROCURATOR_``, validated once at start."""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from procurator.errors import UserError

#: Links lead to the web: a script in their place would run with the pages' rights.
_ADDRESS = r"^(https?://\S*)?$"


class Settings(BaseSettings):
    """Where the neighbours are and how large things may grow. Every field is one environment variable."""

    model_config = SettingsConfigDict(env_prefix="PROCURATOR_", extra="ignore")

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port,…")
    schema_registry_url: str = Field(
        "http://127.0.0.1:8081/apis/ccompat/v7", description="Confluent-compatible schema registry"
    )
    clickhouse_url: str = Field("http://127.0.0.1:8123", description="ClickHouse's HTTP interface")
    clickhouse_user: str = Field("admin", description="ClickHouse user of this component")
    clickhouse_password: SecretStr = Field(
        SecretStr(""), description="its password; in the embedded stack the admin key is admin's"
    )
    clickhouse_database: str = Field("procurator", description="ClickHouse database of the ledger")
    api_url: str = Field("http://127.0.0.1:8080", description="the query API that client commands call")
    api_key: SecretStr = Field(SecretStr(""), description="the key client commands send to the API")
    api_host: str = Field("127.0.0.1", description="address the query API listens on")
    api_port: int = Field(8080, ge=0, le=65535, description="port the query API listens on")
    admin_key: SecretStr = Field(SecretStr(""), description="the first admin key, for automation")
    oidc_issuer: str = Field("", description="the identity provider whose tokens the API believes; empty: none")
    oidc_audience: str = Field("", description="the audience its tokens must be for")
    oidc_jwks_url: str = Field("", description="where its public keys are (https)")
    oidc_principal_claim: str = Field("sub", description="claim that names who calls")
    oidc_org_claim: str = Field("org_id", description="claim that names their organisation")
    oidc_teams_claim: str = Field("teams", description="claim that lists their owner teams")
    oidc_permissions_claim: str = Field("permissions", description="claim that lists their permissions or roles")
    oidc_roles: str = Field("", description="what a role grants: role=permission, several separated by spaces")
    rate_limit_per_s: float = Field(1000.0, ge=0, description="requests a principal may make per second; 0: any number")
    rate_limit_burst: int = Field(2000, ge=1, description="requests a principal may make at once")
    cors_origins: str = Field("", description="origins whose pages may call the API, separated by commas; empty: none")
    trusted_proxies: str = Field("", description="addresses whose X-Forwarded-For is believed; empty: none")
    metrics_host: str = Field("127.0.0.1", description="address on which sink, stream and signer offer their metrics")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of those metrics; 0: none")
    data_dir: Path = Field(Path("~/.local/share/procurator"), description="where the embedded stack keeps its data")
    cache_dir: Path = Field(Path("~/.cache/procurator"), description="where downloads are kept")
    maven_url: str = Field("", description="a mirror to download the jars from; empty: Maven Central")
    kafka_port: int = Field(9092, ge=1, le=65535, description="port of the embedded Kafka")
    registry_port: int = Field(8081, ge=1, le=65535, description="port of the embedded schema registry")
    clickhouse_port: int = Field(8123, ge=1, le=65535, description="port of the embedded ClickHouse")
    partitions: int = Field(4, ge=1, le=1024, description="partitions of each topic, fixed at setup")
    replication_factor: int = Field(1, ge=1, le=16, description="replicas of each topic, fixed at setup")
    stalled_after_s: float = Field(120, gt=0, description="silence after which an open session is shown as stalled")
    signing_key_file: Path | None = Field(None, description="the signer's private key, mode 0600")
    checkpoints_file: Path | None = Field(None, description="the append-only file of signed checkpoints")
    ui_agent_url: str = Field("", pattern=_ADDRESS, description="where the pages link an agent to, with {agent_id}")
    ui_tool_url: str = Field(
        "", pattern=_ADDRESS, description="where the pages link a tool to, with {mcp_server_id} and {tool_name}"
    )

    @property
    def signer_folder(self) -> Path:
        """What the signer alone writes: its state, and its key unless that is elsewhere."""
        return self.data_dir.expanduser() / "sign"

    @property
    def signing_key(self) -> Path:
        """The signer's private key; the verifier key is beside it, with ``.pub``."""
        return self.signing_key_file.expanduser() if self.signing_key_file else self.signer_folder / "key"

    @property
    def checkpoints(self) -> Path:
        """The file of signed checkpoints."""
        return (
            self.checkpoints_file.expanduser() if self.checkpoints_file else self.data_dir.expanduser() / "checkpoints"
        )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process.

    Raises UserError naming each variable that is wrong and why.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"PROCURATOR_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise UserError(f"settings: {problems}") from None
