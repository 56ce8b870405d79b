"""Whether the model server of OPENAI_BASE_URL answers, and which of its models is the default."""

import http.client
import json
import urllib.error
import urllib.request

from cognitionos.platform.config import Settings
from cognitionos.platform.diagnosis import Finding

_ANSWER_WITHIN_S = 2.0
_MOST_BYTES = 4 * 2**20
_NAME = "model providers"
_USUAL = "gpt-4o-mini"  # taken where the server has it and nobody named another
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def examine_model_server(settings: Settings) -> Finding:
    """Ask GET {OPENAI_BASE_URL}/models, within 2 s. A server that does not answer may yet be started: a note."""
    base = (settings.openai_base_url or "").rstrip("/")
    key = settings.openai_api_key
    try:
        models = _models(base, key.get_secret_value() if key else None)
    except urllib.error.HTTPError as error:
        remedy = "check OPENAI_API_KEY" if error.code in {401, 403} else "check OPENAI_BASE_URL: it usually ends in /v1"
        return _unfit(f"{base}/models answers HTTP {error.code}", remedy)
    except (OSError, http.client.HTTPException) as error:
        return _unfit(f"OPENAI_BASE_URL: nothing answers at {base} ({_reason(error)})", "start that server")
    except (ValueError, KeyError, TypeError):
        return _unfit(f"{base}/models is no list of models", "check OPENAI_BASE_URL: it usually ends in /v1")
    chat_models = [each for each in models if "embed" not in each.lower()]
    model = settings.model or next((each for each in chat_models if each == _USUAL), next(iter(chat_models), None))
    if model is None:
        return _unfit(f"{base} answers and lists no model", "load one there, or name one in COGNITIONOS_MODEL")
    if model.removeprefix("openai/") not in models:
        listed = f"; it lists {', '.join(models[:5])}" if models else ""
        return _unfit(f"{base} does not list COGNITIONOS_MODEL={model}{listed}", "name one of these, or load it there")
    return Finding(name=_NAME, ok=True, detail=f"OPENAI_BASE_URL: {base} answers, default model {model}")


def _models(base: str, key: str | None) -> list[str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{base}/models", headers=headers)  # noqa: S310 - the operator's own setting
    with _OPENER.open(request, timeout=_ANSWER_WITHIN_S) as answer:
        return [str(each["id"]) for each in json.loads(answer.read(_MOST_BYTES))["data"]]


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def _unfit(detail: str, remedy: str) -> Finding:
    return Finding(name=_NAME, ok=False, detail=detail, remedy=remedy, required=False)
