"""Which model answers: that of the stack that runs, or of the model server of OPENAI_BASE_URL, and what it costs."""

import http.client
import json
import urllib.error
import urllib.request

from cognitionos.cli.client import Api
from cognitionos.cli.watching import price_note
from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.infrastructure.price_table import PriceTable
from cognitionos.platform.config import Settings
from cognitionos.platform.diagnosis import Finding
from cognitionos.platform.http_address import leads_inside

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
    return _priced(f"OPENAI_BASE_URL: {base} answers, default model {model}", model.removeprefix("openai/"), base, key)


def examine_running(api: Api) -> Finding:
    """Which model answers in the stack that runs, whatever the environment of this command says."""
    try:
        default = api.get("/v1/default-model")
    except DomainError as error:
        return _unfit(f"the stack at {api.url} does not say which model answers: {error.detail}", "look at its logs")
    if not default["model"]:
        return _unfit(f"the stack at {api.url} has none", default["hint"])
    if default["simulated"]:
        return _unfit(f"the stack at {api.url} has none: the simulated model answers, and says so", default["hint"])
    detail = f"the stack at {api.url} answers with {default['model']}{price_note(default)}"
    return Finding(name=_NAME, ok=default["price"] != "unknown", detail=detail, required=False)


def _priced(detail: str, model: str, base: str, key: object) -> Finding:
    """Say what calls to `model` will cost where no tenant has told its price."""
    table = PriceTable()
    if table.price(f"openai/{model}") or table.price(model):
        return Finding(name=_NAME, ok=True, detail=detail)
    set_it = f"cognitionos prices set openai/{model} --input USD --output USD"
    if key is None or leads_inside(base):
        return Finding(name=_NAME, ok=True, detail=f"{detail}, free unless a price is set: {set_it}")
    return _unfit(f"{detail}: nobody knows what it costs, so it is refused under a budget, as goals have one", set_it)


def _models(base: str, key: str | None) -> list[str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{base}/models", headers=headers)  # noqa: S310 - the operator's own setting
    with _OPENER.open(request, timeout=_ANSWER_WITHIN_S) as answer:
        return [str(each["id"]) for each in json.loads(answer.read(_MOST_BYTES))["data"]]


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def _unfit(detail: str, remedy: str) -> Finding:
    return Finding(name=_NAME, ok=False, detail=detail, remedy=remedy, required=False)
