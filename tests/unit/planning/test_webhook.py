"""Signatures, secrets and the plan of attempts."""

from datetime import UTC, datetime, timedelta

import pytest

from cognitionos.planning.domain.webhook import (
    DISABLED_AFTER,
    RETRY_AFTER_S,
    Attempt,
    BadWebhook,
    must_be_events,
    must_be_secret,
    next_attempt_in,
    secret_of,
    signature,
    why_disabled,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_signature_is_that_of_standard_webhooks_own_test_vector() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)

    signed = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}'
    )

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_????", secret_of(b"x" * 23), secret_of(b"x" * 65), secret_of(b"x" * 24)[6:]]
)
def test_a_secret_that_receivers_could_not_use_is_refused(secret: str) -> None:
    with pytest.raises(BadWebhook, match="24 to 64 bytes"):
        must_be_secret(secret)


def test_a_secret_of_24_to_64_bytes_is_taken() -> None:
    assert [must_be_secret(secret_of(b"x" * size)) for size in (24, 64)]


def test_events_are_named_once_each_and_unknown_ones_by_their_place() -> None:
    assert must_be_events(["run.failed", "run.succeeded", "run.failed"]) == ["run.failed", "run.succeeded"]
    with pytest.raises(BadWebhook) as refused:
        must_be_events(["run.failed", "run.exploded"])
    assert list(refused.value.fields) == ["events.1"]
    with pytest.raises(BadWebhook, match="at least one"):
        must_be_events([])


def test_an_endpoint_is_tried_ten_times_within_four_days_each_time_after_longer() -> None:
    waits = [next_attempt_in(attempts) for attempts in range(1, len(RETRY_AFTER_S) + 2)]

    assert waits[-1] is None
    spent = [wait for wait in waits if wait is not None]
    assert spent == sorted(spent)
    assert timedelta(days=3) < sum(spent, timedelta()) < timedelta(days=4)


def test_a_webhook_is_disabled_once_it_has_failed_for_days_or_says_that_it_is_gone() -> None:
    failed = Attempt(at=NOON, duration_ms=1, status=500)

    assert why_disabled(failed, NOON) is None
    assert why_disabled(failed, NOON - DISABLED_AFTER + timedelta(seconds=1)) is None
    assert "every attempt since" in (why_disabled(failed, NOON - DISABLED_AFTER) or "")
    assert why_disabled(Attempt(at=NOON, duration_ms=1, status=410), NOON) == "it answered 410 Gone"


@pytest.mark.parametrize(("status", "succeeded"), [(200, True), (204, True), (301, False), (404, False), (None, False)])
def test_only_2xx_is_a_success(status: int | None, *, succeeded: bool) -> None:
    assert Attempt(at=NOON, duration_ms=1, status=status).succeeded is succeeded
