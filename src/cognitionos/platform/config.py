"""Settings: the one reader of the environment. Secrets are redacted in every representation."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cognitionos.platform.draining import DRAIN_S
from cognitionos.platform.http_address import AllowedHosts

Mode = Literal["development", "production"]
SHORTEST_SECRET = 32
"""Characters of a secret key that production takes."""
HOLDS_CLOSED_S = 55.0
"""So long after a process died its holds are closed at the latest, sweeps of others included; a minute is promised."""


def _either(name: str, usual: str) -> AliasChoices:
    return AliasChoices(f"COGNITIONOS_{name}", usual)


class Settings(BaseSettings):
    """`COGNITIONOS_*` variables plus the usual names that other tools set."""

    model_config = SettingsConfigDict(
        env_prefix="COGNITIONOS_", env_ignore_empty=True, extra="ignore", populate_by_name=True, frozen=True
    )

    mode: Mode = "development"
    log_level: str = "info"
    data_dir: Path = Path(".data")

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://cognitionos_app@127.0.0.1:5432/cognitionos"),
        validation_alias=_either("DATABASE_URL", "DATABASE_URL"),
    )
    migration_database_url: SecretStr | None = Field(
        default=None, validation_alias=_either("MIGRATION_DATABASE_URL", "MIGRATION_DATABASE_URL")
    )
    database_pool_size: int = Field(
        default=10, ge=2, description="connections per process, both ways to the database together"
    )
    database_silence_s: float = Field(
        default=10.0, ge=1, le=120, description="seconds after which the API calls a PostgreSQL gone that says nothing"
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), validation_alias=_either("REDIS_URL", "REDIS_URL")
    )

    secret_key: SecretStr = Field(
        default=SecretStr("development-only-secret"), description="keys the HMAC of API keys; required in production"
    )
    secret_key_before: SecretStr | None = Field(
        default=None, description="accepted beside it: API keys are known by it, and what it sealed opens"
    )
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    drain_s: float = Field(
        default=DRAIN_S, ge=0, le=3600, description="seconds that the API's requests go on once it is told to stop"
    )
    metrics_port: int | None = Field(default=None, description="where the worker serves /metrics; None: not served")

    openai_api_key: SecretStr | None = Field(default=None, validation_alias=_either("OPENAI_API_KEY", "OPENAI_API_KEY"))
    openai_base_url: str | None = Field(default=None, validation_alias=_either("OPENAI_BASE_URL", "OPENAI_BASE_URL"))
    anthropic_api_key: SecretStr | None = Field(
        default=None, validation_alias=_either("ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY")
    )
    anthropic_base_url: str | None = Field(
        default=None, validation_alias=_either("ANTHROPIC_BASE_URL", "ANTHROPIC_BASE_URL")
    )
    model: str | None = Field(
        default=None, description="the default model; a bare name goes to the default provider unchanged"
    )
    fallback_models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="tried in order after the default"
    )
    providers_file: Path | None = Field(default=None, description="JSON file of further OpenAI-compatible providers")
    detect_local_models: bool = True
    provider_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="hosts that are not public and that tenants' own providers may be at all the same"
    )
    circuit_failures: int = Field(default=5, ge=1, description="failures in a row after which a model is left alone")
    circuit_open_s: float = Field(default=60.0, gt=0, le=600, description="for so long")
    circuit_probes: int = Field(default=3, ge=1, description="calls at once that then try whether it is back")
    circuit_successes: int = Field(default=2, ge=1, description="successes after which it is trusted again")
    deployment_calls: int = Field(default=256, ge=1, description="calls that one model may have at once, per process")
    deployment_queue: int = Field(default=64, ge=0, description="calls that may wait for one of these")
    attempt_timeout_s: float = Field(
        default=120.0, gt=0, description="for an attempt where another model may be tried, and of silence in a stream"
    )
    cache_exact_s: float = Field(default=300.0, ge=0, le=3600, description="an answer is kept in Redis; 0: not")
    cache_durable_s: float = Field(
        default=3600.0, ge=0, le=604800, description="an answer is kept in PostgreSQL; 0: not"
    )
    cache_durable_mb: int = Field(default=1024, ge=1, description="of answers kept in PostgreSQL, the newest")

    http_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="hosts the http tool may reach; a literal address:port opens just that one"
    )
    mcp_stdio: bool = Field(
        default=False, description="whether tenants may have MCP servers started as processes of the worker"
    )
    tool_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="hosts that are not public and that tenants' MCP servers and databases may be at"
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="hosts that are not public and that tenants' webhooks may be at"
    )
    sandbox: Literal["auto", "wasm", "process"] = "auto"

    hold_sweep_s: float = Field(default=12.0, gt=0, le=15, description="seconds between signs of life of holders")
    hold_dead_s: float = Field(default=30.0, gt=0, description="seconds without one until its holds are closed")
    lease_s: float = Field(default=10.0, gt=0)
    sweep_s: float = Field(default=2.0, gt=0)
    task_slots: int = Field(default=32, ge=1, description="tasks a worker runs at once")
    worker_threads: int = Field(default=16, ge=1, description="background jobs a worker runs at once")

    rate_limit_per_minute: int = Field(default=60_000, ge=1, description="requests a minute for each API key")
    default_goal_budget_usd: str = "1.00"
    otlp_endpoint: str | None = Field(default=None, description="OTLP/HTTP traces go here; None: tracing is off")
    crash_point: str | None = Field(
        default=None, description="test only: the process kills itself when it reaches this point"
    )

    @field_validator("http_allow", "fallback_models", "provider_allow", "tool_allow", "webhook_allow", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("http_allow", "provider_allow", "tool_allow", "webhook_allow")
    @classmethod
    def _names_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            AllowedHosts.parse(value)
        except ValueError as error:
            raise PydanticCustomError("hosts", "Input should be hosts: {reason}", {"reason": str(error)}) from None
        return value

    @field_validator("hold_dead_s")
    @classmethod
    def _closes_in_time(cls, value: float, known: ValidationInfo) -> float:
        """A holder that misses one sign of life is not dead; one that is has its holds closed within a minute."""
        every_s = known.data.get("hold_sweep_s", 0.0)
        if not 2 * every_s <= value <= HOLDS_CLOSED_S - every_s:
            bounds = f"{2 * every_s:g} to {HOLDS_CLOSED_S - every_s:g}"
            raise PydanticCustomError("holds", "Input should be from {bounds}", {"bounds": bounds})
        return value

    @cached_property
    def is_production(self) -> bool:
        """Whether conveniences for a newcomer (simulated models, the default secret) are refused."""
        return self.mode == "production"

    def require_production_secrets(self) -> None:
        """Raise `ValueError` naming the variable when production runs on a development secret, or one to be guessed."""
        if not self.is_production:
            return
        if "secret_key" not in self.model_fields_set:
            raise ValueError("COGNITIONOS_SECRET_KEY must be set when COGNITIONOS_MODE=production")
        if len(self.secret_key.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(
                f"COGNITIONOS_SECRET_KEY must have {SHORTEST_SECRET} characters or more in COGNITIONOS_MODE=production"
            )
