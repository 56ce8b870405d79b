"""The OpenAPI document and the readable page made from it; both work without a network."""

import html
from typing import Any

import msgspec
from litestar import Request, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, Contact, License, SecurityScheme, Server
from litestar.plugins import ReceiveRoutePlugin
from litestar.response import Response
from litestar.routes import BaseRoute, HTTPRoute

from cognitionos.platform.http_api import PUBLIC, meaning, problems, public
from cognitionos.platform.http_problems import VENDOR, VendorErrors

BEARER = "key"
_WITH_KEY = (400, 401, 403, 429, 500, 503)
_WITHOUT_KEY = (400, 500)
_POST = (409, 413, 422)
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem 1.5rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2.5rem;border-bottom:1px solid #d0d7de}
details{border:1px solid #d0d7de;border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}summary{cursor:pointer}
code,pre{font:13px/1.5 ui-monospace,monospace}pre{background:#f6f8fa;padding:.8rem;border-radius:6px;overflow:auto}
.m{display:inline-block;min-width:4rem;font-weight:700}.s{color:#57606a}table{border-collapse:collapse}
td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}pre{background:#161b22}
h2,details{border-color:#30363d}.s{color:#8b949e}a{color:#58a6ff}}
"""


class CommonErrors(ReceiveRoutePlugin):
    """Documents on each route the errors that any such route may give, in the shape that it gives them in."""

    def receive_route(self, route: BaseRoute) -> None:
        """Add to the `responses` of the route's handlers what they do not say themselves."""
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                _document(handler)


class ReadablePage(OpenAPIRenderPlugin):
    """A static page: every route with its parameters, body and answers; no script, nothing from elsewhere."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The whole page."""
        return _page(openapi_schema).encode()


def openapi_config(version: str) -> OpenAPIConfig:
    """The document's head; the page is served at `/docs`, the document by `document`."""
    return OpenAPIConfig(
        title="CognitionOS",
        version=version,
        summary="The backend for running AI agents in production.",
        description=(
            "Every route needs a key (`Authorization: Bearer cog_...`) unless it is marked public. Errors are problem "
            "documents (RFC 9457); lists are paged by `cursor`; POSTs take an `Idempotency-Key`."
        ),
        contact=Contact(name="CognitionOS"),
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        servers=[Server(url="/")],
        security=[{BEARER: []}],
        components=Components(
            security_schemes={BEARER: SecurityScheme(type="http", scheme="bearer", description="An API key: `cog_...`")}
        ),
        render_plugins=[ReadablePage(path="/")],
        openapi_router=Router("/docs", route_handlers=[], opt=public(), include_in_schema=False),
        use_handler_docstrings=True,
    )


@get("/openapi.json", opt=public(), include_in_schema=False)
async def document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document of the running version."""
    body = msgspec.json.encode(request.app.openapi_schema.to_schema())
    return Response(body, media_type="application/vnd.oai.openapi+json")


def _document(handler: HTTPRouteHandler) -> None:
    is_public = bool(handler.opt.get(PUBLIC))
    statuses = [*(_WITHOUT_KEY if is_public else _WITH_KEY)]
    if "POST" in handler.http_methods and not is_public:
        statuses += _POST
    documented = problems(*statuses)
    vendor = handler.opt.get(VENDOR)
    if isinstance(vendor, VendorErrors):
        documented = {vendor.statuses.get(each, each): _vendor_spec(vendor, each) for each in [*statuses, 404]}
    handler.responses = {**documented, **(handler.responses or {})}
    if is_public and handler.security is None:
        handler.security = [{}]


def _vendor_spec(vendor: VendorErrors, status: int) -> ResponseSpec:
    return ResponseSpec(vendor.schema, generate_examples=False, description=meaning(status))


def _page(document: dict[str, Any]) -> str:
    info = document["info"]
    groups: dict[str, list[str]] = {}
    for path, item in sorted(document.get("paths", {}).items()):
        for method, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                tag = (operation.get("tags") or [path.strip("/").split("/")[-1 if path.count("/") == 1 else 1]])[0]
                groups.setdefault(tag, []).append(_operation(path, method, operation))
    schemas = document.get("components", {}).get("schemas", {})
    body = "".join(f"<h2>{html.escape(tag)}</h2>{''.join(parts)}" for tag, parts in sorted(groups.items()))
    shapes = "".join(_schema(name, schema) for name, schema in sorted(schemas.items()))
    title = html.escape(f"{info['title']} {info['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{html.escape(info.get('description', ''))}</p>"
        f'<p>Machine-readable: <a href="/openapi.json">/openapi.json</a></p>{body}'
        f"<h2>Schemas</h2>{shapes}</body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    summary = html.escape(operation.get("summary") or "")
    parameters = "".join(
        f"<tr><td><code>{html.escape(each['name'])}</code></td><td>{html.escape(each['in'])}</td>"
        f"<td>{_type(each.get('schema', {}))}</td><td>{html.escape(each.get('description') or '')}</td></tr>"
        for each in operation.get("parameters", [])
    )
    body = "".join(
        f"<p>Body <code>{html.escape(media)}</code>: {_type(content.get('schema', {}))}</p>"
        for media, content in operation.get("requestBody", {}).get("content", {}).items()
    )
    answers = "".join(
        f"<tr><td><code>{html.escape(status)}</code></td><td>{html.escape(answer.get('description') or '')}</td><td>"
        + ", ".join(_type(content.get("schema", {})) for content in answer.get("content", {}).values())
        + "</td></tr>"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f'<details><summary><span class="m">{method.upper()}</span> <code>{html.escape(path)}</code> '
        f'<span class="s">{summary}</span></summary><p>{html.escape(operation.get("description") or "")}</p>'
        f"<table>{parameters}</table>{body}<table>{answers}</table></details>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = html.escape(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())
    label = html.escape(name)
    return f'<details id="{label}"><summary><code>{label}</code></summary><pre>{text}</pre></details>'


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = html.escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    options = schema.get("oneOf") or schema.get("anyOf")
    if options:
        return " or ".join(_type(each) for each in options)
    kind = schema.get("type", "any")
    return html.escape(" or ".join(kind) if isinstance(kind, list) else str(kind))
