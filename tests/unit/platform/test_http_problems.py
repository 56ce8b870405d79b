import msgspec
import pytest
from litestar.exceptions import MethodNotAllowedException, NotFoundException, ValidationException

from cognitionos.kernel.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from cognitionos.platform.http_problems import (
    Problem,
    VendorErrors,
    problem_of,
    render,
)


class GoalNotFound(NotFound):
    """For the test."""


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Unauthenticated, 401),
        (Forbidden, 403),
        (NotFound, 404),
        (Conflict, 409),
        (Invalid, 422),
        (LimitExceeded, 429),
        (Unavailable, 503),
    ],
)
def test_each_kind_of_error_has_its_status(kind: type[DomainError], status: int) -> None:
    assert problem_of(kind("why")).status == status


def test_the_type_of_a_problem_is_the_name_of_its_error() -> None:
    assert problem_of(GoalNotFound("there is no goal 7")).slug == "goal-not-found"


def test_a_limit_says_when_to_come_back_rounded_up() -> None:
    assert problem_of(LimitExceeded("slow down", retry_after_s=1.2)).headers["retry-after"] == "2"


def test_an_outage_always_says_when_to_come_back() -> None:
    assert problem_of(Unavailable("gone")).headers["retry-after"] == "1"


def test_a_missing_credential_names_the_scheme() -> None:
    assert problem_of(Unauthenticated("who are you")).headers["www-authenticate"].startswith("Bearer")


def test_an_unexpected_error_shows_nothing_of_itself() -> None:
    problem = problem_of(RuntimeError("password=hunter2 at line 3"))

    assert problem.status == 500
    assert "hunter2" not in problem.detail


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"key": "inputs[0].name", "message": "Expected `str`, got `int`", "source": "body"}, "inputs.0.name"),
        ({"key": "data", "message": "Object missing required field `statement`"}, "statement"),
        ({"key": "inputs[2]", "message": "Object contains unknown field `nme`"}, "inputs.2.nme"),
        ({"key": "limit", "message": "Expected `int` <= 200", "source": "query"}, "limit"),
        ({"key": "data", "message": "Expected `object`, got `array`"}, "$"),
    ],
)
def test_a_malformed_request_names_the_field_by_its_path(message: dict[str, str], field: str) -> None:
    problem = problem_of(ValidationException(extra=[message]))

    assert problem.status == 400
    assert [each.field for each in problem.errors] == [field]
    assert "`" not in problem.errors[0].message


@pytest.mark.parametrize(("error", "status"), [(NotFoundException(), 404), (MethodNotAllowedException(), 405)])
def test_what_the_router_refuses_is_a_problem_with_a_remedy(error: Exception, status: int) -> None:
    problem = problem_of(error)

    assert problem.status == status
    assert problem.detail.endswith(".")


def test_a_document_carries_the_request_and_the_fields() -> None:
    problem = problem_of(Invalid("too long", fields={"name": "is longer than 200"}))

    response = render(problem, path="/v1/projects", request_id="r1")

    document = msgspec.json.decode(response.content)
    assert response.media_type == "application/problem+json"
    assert document == {
        "type": "/problems/invalid",
        "title": "Invalid",
        "status": 422,
        "detail": "too long",
        "instance": "/v1/projects",
        "request_id": "r1",
        "errors": [{"field": "name", "message": "is longer than 200"}],
    }


class TheirError(msgspec.Struct):
    code: str


def test_a_vendor_s_route_words_the_same_problem_in_its_own_shape() -> None:
    def words(problem: Problem, request_id: str) -> tuple[TheirError, dict[str, str]]:
        return TheirError(problem.slug), {"x-should-retry": "false"}

    response = render(
        problem_of(LimitExceeded("the budget is used up")),
        path="/v1/chat/completions",
        request_id="r1",
        vendor=VendorErrors(schema=TheirError, render=words),
    )

    assert (response.status_code, response.content) == (429, b'{"code":"limit-exceeded"}')
    assert response.headers["x-should-retry"] == "false"
