"""The columns of the ledger that few calls fill: left out of a row that has nothing for them, as most."""

from typing import Any

from cognitionos.llm_gateway.domain.ledger import Call


def ledger_detail(call: Call) -> dict[str, Any]:
    """What there is, under the ledger's column names."""
    usage, workflow = call.usage, call.caller.workflow
    if not (
        workflow
        or usage.service_tier
        or usage.cache_write_1h
        or usage.audio_input
        or usage.audio_output
        or usage.image_input
        or usage.image_output
        or usage.cached_audio
        or usage.searches
    ):
        return {}
    return {
        "workflow": None if workflow is None else workflow.replace("\0", ""),
        "service_tier": None if usage.service_tier is None else usage.service_tier[:40].replace("\0", ""),
        "cache_write_1h_tokens": usage.cache_write_1h or None,
        "audio_input_tokens": usage.audio_input or None,
        "audio_output_tokens": usage.audio_output or None,
        "image_input_tokens": usage.image_input or None,
        "image_output_tokens": usage.image_output or None,
        "cached_audio_tokens": usage.cached_audio or None,
        "searches": usage.searches or None,
    }
