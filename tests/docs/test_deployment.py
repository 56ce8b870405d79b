"""compose.yaml and Dockerfile agree with the product, as far as can be told without an engine."""

import re
import shlex
from typing import Any

import pytest
import yaml
from tests.docs.documents import ROOT

from cognitionos.cli import _parser
from cognitionos.platform.config import Settings

PASSWORDS = {"POSTGRES_PASSWORD", "OWNER_PASSWORD", "APP_PASSWORD"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def example_env() -> set[str]:
    lines = (ROOT / "deploy" / "compose" / "example.env").read_text(encoding="utf-8").splitlines()
    return {line.partition("=")[0] for line in lines if line and not line.startswith("#")}


def settings_variables() -> set[str]:
    """Every environment variable that the settings read."""
    aliases = [field.validation_alias for field in Settings.model_fields.values()]
    either = {str(choice) for alias in aliases if hasattr(alias, "choices") for choice in alias.choices}
    return either | {f"COGNITIONOS_{name.upper()}" for name in Settings.model_fields}


def ours(compose: dict[str, Any]) -> dict[str, Any]:
    """The services that run our image."""
    return {
        name: service for name, service in compose["services"].items() if service["image"].startswith("cognitionos:")
    }


def test_our_services_set_only_variables_that_the_product_reads(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        assert set(service["environment"]) - settings_variables() == PASSWORDS, name


def test_every_setting_of_the_environment_file_reaches_our_services_but_no_password_does(
    compose: dict[str, Any],
) -> None:
    for service in ours(compose).values():
        assert service["env_file"] == [{"path": ".env", "required": False}]
        assert {service["environment"][name] for name in PASSWORDS} == {""}


def test_our_services_run_commands_that_exist(compose: dict[str, Any]) -> None:
    for service in ours(compose).values():
        _parser().parse_args(service["command"])

    assert set(ours(compose)) == {"migrate", "api", "worker"}


def test_the_owners_password_is_given_to_the_migration_only(compose: dict[str, Any]) -> None:
    assert [name for name, service in ours(compose).items() if "${OWNER_PASSWORD" in str(service)] == ["migrate"]


def test_files_that_compose_mounts_exist(compose: dict[str, Any]) -> None:
    mounts = [mount.split(":")[0] for mount in compose["services"]["postgres"]["volumes"]]

    assert [mount for mount in mounts if mount.startswith("./") and not (ROOT / mount).is_file()] == []


def test_what_compose_demands_stands_in_the_example_environment(example_env: set[str]) -> None:
    demanded = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text(encoding="utf-8")))

    assert demanded <= example_env
    assert example_env - demanded <= settings_variables()


def test_what_the_image_copies_exists_and_reaches_the_builder() -> None:
    copied = [
        source
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in shlex.split(line)[1:-1]
    ]

    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if f"!{source}" not in ignored] == []


def test_the_image_is_built_from_locked_requirements_and_runs_without_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")

    assert "--require-hashes" in text
    assert "\nUSER cognitionos" in text
