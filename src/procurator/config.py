"""Settings: environment variables prefixed ``PROCURATOR_``, validated once at start."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from procurator.errors import UserError
from procurator.webhooks.addresses import AddressPolicy

#: Links lead to the web: a script in their place would run with the pages' rights.
_ADDRESS = r"^(https?://\S*)?$"
_WEBHOOK_KEY_CHARS_MIN = 32


class Settings(BaseSettings):
    """Where the neighbours are and how large things may grow. Every field is one environment variable."""

    model_config = SettingsConfigDict(env_prefix="PROCURATOR_", extra="ignore")

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port,…")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how Kafka is spoken to; in production SASL_SSL"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how a component proves to Kafka who it is, with SASL_…"
    )
    kafka_username: str = Field("", description="this component's user in Kafka, with SASL_…")
    kafka_password: SecretStr = Field(SecretStr(""), description="its password")
    kafka_ca_file: Path | None = Field(None, description="certificates to check Kafka's with; none: the system's")
    schema_registry_url: str = Field(
        "http://127.0.0.1:8081/apis/ccompat/v7", description="Confluent-compatible schema registry"
    )
    clickhouse_url: str = Field("http://127.0.0.1:8123", description="ClickHouse's HTTP interface")
    clickhouse_user: str = Field("admin", description="ClickHouse user of this component")
    clickhouse_password: SecretStr = Field(
        SecretStr(""), description="its password; in the embedded stack the admin key is admin's"
    )
    clickhouse_database: str = Field("procurator", pattern=r"^[A-Za-z_]\w*$", description="the ledger's database")
    clickhouse_cluster: str = Field(
        "", pattern=r"^([A-Za-z_]\w*)?$", description="what the servers call their cluster; empty: one server"
    )
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
    log_format: Literal["text", "json"] = Field(
        "text", description="of the components' logs; the API's are JSON always"
    )
    data_dir: Path = Field(Path("~/.local/share/procurator"), description="where the embedded stack keeps its data")
    cache_dir: Path = Field(Path("~/.cache/procurator"), description="where downloads are kept")
    maven_url: str = Field("", description="a mirror to download the jars from; empty: Maven Central")
    kafka_port: int = Field(9092, ge=1, le=65535, description="port of the embedded Kafka")
    registry_port: int = Field(8081, ge=1, le=65535, description="port of the embedded schema registry")
    clickhouse_port: int = Field(8123, ge=1, le=65535, description="port of the embedded ClickHouse")
    partitions: int = Field(4, ge=1, le=1024, description="partitions of each topic, fixed at setup")
    replication_factor: int = Field(1, ge=1, le=16, description="replicas of each topic, fixed at setup")
    stalled_after_s: int = Field(120, ge=1, description="silence after which an open session is shown as stalled")
    signing_key_file: Path | None = Field(None, description="the signer's private key, mode 0600")
    checkpoints_file: Path | None = Field(None, description="the append-only file of signed checkpoints")
    ui_agent_url: str = Field("", pattern=_ADDRESS, description="where the pages link an agent to, with {agent_id}")
    ui_tool_url: str = Field(
        "", pattern=_ADDRESS, description="where the pages link a tool to, with {mcp_server_id} and {tool_name}"
    )
    retention_file: Path | None = Field(None, description="retention periods by organisation and team (TOML)")
    retention_exports: Path | None = Field(None, description="folder of the exports that purges leave behind")
    retention_daily: bool = Field(True, description="whether the embedded stack runs the retention once a day")
    webhook_key: SecretStr = Field(SecretStr(""), description="seals the secrets of webhooks; empty: no webhooks")
    webhook_private_networks: str = Field(
        "", description="private networks that webhooks may go to, separated by commas; empty: none"
    )
    exports_dir: Path | None = Field(None, description="root of bulk exports, for the API alone")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that contradict one another, rather than let one of them win silently."""
        sasl = self.kafka_security_protocol.startswith("SASL_")
        if sasl and not (self.kafka_username and self.kafka_password.get_secret_value()):
            raise ValueError("PROCURATOR_KAFKA_SECURITY_PROTOCOL is SASL_…: set PROCURATOR_KAFKA_USERNAME, …_PASSWORD")
        if self.kafka_username and not sasl:
            raise ValueError("PROCURATOR_KAFKA_USERNAME is set, but PROCURATOR_KAFKA_SECURITY_PROTOCOL is not SASL_…")
        if self.kafka_ca_file and not self.kafka_security_protocol.endswith("SSL"):
            raise ValueError("PROCURATOR_KAFKA_CA_FILE is set, but PROCURATOR_KAFKA_SECURITY_PROTOCOL has no SSL in it")
        if 0 < len(self.webhook_key.get_secret_value()) < _WEBHOOK_KEY_CHARS_MIN:
            raise ValueError(f"PROCURATOR_WEBHOOK_KEY has fewer than {_WEBHOOK_KEY_CHARS_MIN} characters")
        try:
            AddressPolicy.of(self.webhook_private_networks)
        except ValueError as error:
            raise ValueError(f"PROCURATOR_WEBHOOK_PRIVATE_NETWORKS: {error}") from None
        if self.oidc_issuer and not (self.oidc_audience and self.oidc_jwks_url):
            raise ValueError("PROCURATOR_OIDC_ISSUER is set: set PROCURATOR_OIDC_AUDIENCE and PROCURATOR_OIDC_JWKS_URL")
        return self

    @property
    def logs_are_json(self) -> bool:
        return self.log_format == "json"

    @property
    def exports(self) -> Path:
        """The root of bulk exports: nothing is written outside of it."""
        return self.exports_dir.expanduser() if self.exports_dir else self.data_dir.expanduser() / "exports"

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

    @property
    def retention_periods(self) -> Path:
        """The file of retention periods; it need not be there."""
        default = self.data_dir.expanduser() / "retention.toml"
        return self.retention_file.expanduser() if self.retention_file else default

    @property
    def purge_exports(self) -> Path:
        """The folder of the exports that purges leave behind."""
        default = self.data_dir.expanduser() / "retention" / "exports"
        return self.retention_exports.expanduser() if self.retention_exports else default


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process.

    Raises UserError naming each variable that is wrong and why.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"PROCURATOR_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}"
            if e["loc"]
            else e["msg"].removeprefix("Value error, ")
            for e in error.errors()
        )
        raise UserError(f"settings: {problems}") from None
