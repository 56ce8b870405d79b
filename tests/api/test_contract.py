"""The OpenAPI document tells the truth: a fuzzer finds no answer that it does not describe."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.api.server import running_server
from tests.conftest import Run
from tests.edge import Caller, a_caller

from cognitionos.platform.config import Settings

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
)
UNDER_A_VENDOR = ("/v1/chat/completions", "/v1/embeddings", "/v1/messages", "/v1/models", "/v1/responses")
A_FEW, MANY = 6, 150
PATIENCE_S = 60
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    return run(a_caller(settings, "fuzzer"))


@pytest.fixture(scope="module")
def url(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = Path(tmp_path_factory.mktemp("serve")) / "log"
    with running_server(settings, log, COGNITIONOS_RATE_LIMIT_PER_MINUTE="1000000") as url:
        yield url
        assert "unhandled_error" not in log.read_text()


@pytest.fixture(scope="module")
def document(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/openapi.json", timeout=PATIENCE_S).json()
    return found


def test_no_answer_is_undocumented(url: str, document: dict[str, Any], caller: Caller) -> None:
    assert _fuzz(url, document, caller, examples=A_FEW) == []


@pytest.mark.long
def test_no_answer_is_undocumented_in_many_tries(url: str, document: dict[str, Any], caller: Caller) -> None:
    assert _fuzz(url, document, caller, examples=MANY) == []


def test_no_route_answers_without_a_key_unless_it_is_public(url: str, document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            filled = path
            for parameter in operation.get("parameters", []):
                filled = filled.replace(f"{{{parameter['name']}}}", NOBODY)
            answer = httpx.request(method, url + filled, timeout=PATIENCE_S)
            is_public = operation.get("security") == [{}]
            assert (answer.status_code == 401) is not is_public, (method, path, answer.status_code)


def test_every_error_on_our_routes_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and not path.startswith(UNDER_A_VENDOR):
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
                    reference = answer["content"]["application/problem+json"]["schema"]["$ref"]
                    assert reference.endswith("ProblemDocument"), (path, status)


def test_input_that_is_wrong_gets_a_problem_that_names_the_field(
    url: str, document: dict[str, Any], caller: Caller
) -> None:
    tried = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "requestBody" not in operation or path.startswith(UNDER_A_VENDOR):
                continue
            filled = url + re.sub(r"{[^}]+}", NOBODY, path)
            unknown = httpx.request(
                method, filled, headers=caller.headers, json={"no_such_field": 1}, timeout=PATIENCE_S
            )
            listed = httpx.request(method, filled, headers=caller.headers, json=[], timeout=PATIENCE_S)
            broken = httpx.request(method, filled, headers=caller.headers, content=b'{"name":', timeout=PATIENCE_S)
            for answer in (unknown, listed, broken):
                assert answer.status_code == 400, (path, answer.text)
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["errors"][0]["field"], (path, answer.text)
            tried += 1

    assert tried >= 5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/projects", {"name": "a\x00b"}),
        ("/v1/api-keys", {"name": "a\x00b", "scopes": ["goals:read"]}),
        ("/v1/memories", {"content": "a\x00b"}),
        ("/v1/memories/search", {"query": "a\x00b"}),
        ("/v1/goals", {"statement": "a\x00b"}),
        ("/v1/budgets", {"subject": "a\x00b", "limit_usd": "1"}),
        ("/v1/projects?limit=1&cursor=%00", None),
        ("/v1/projects?limit=none", None),
    ],
)
def test_text_that_postgresql_cannot_hold_is_the_caller_s_fault(
    url: str, caller: Caller, path: str, body: dict[str, Any] | None
) -> None:
    method = "GET" if body is None else "POST"
    answer = httpx.request(method, url + path, headers=caller.headers, json=body, timeout=PATIENCE_S)

    assert answer.status_code in {400, 404, 422}, answer.text


def test_every_operation_has_a_summary_and_a_unique_id(document: dict[str, Any]) -> None:
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]

    assert [operation["operationId"] for operation in operations if not operation.get("summary")] == []
    assert len(ids) == len(set(ids))


def _fuzz(url: str, document: dict[str, Any], caller: Caller, *, examples: int) -> list[str]:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    failures: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                _try(operation, mode, caller, examples)
            except Exception as error:  # noqa: BLE001 - whatever the fuzzer finds is reported, all of it at the end
                if type(error).__name__ != "Unsatisfiable":
                    failures.append(f"{operation.label} ({mode.value}): {error}")
    return failures


def _try(operation: Any, mode: GenerationMode, caller: Caller, examples: int) -> None:
    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: Any) -> None:
        case.call_and_validate(checks=list(CHECKS), headers=caller.headers, timeout=PATIENCE_S)

    attempt()
