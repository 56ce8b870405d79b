"""The API process: one Litestar application over the services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide

from cognitionos import __version__
from cognitionos.composition import build
from cognitionos.platform import health, http_api, http_document, http_problems, logging, middleware, telemetry
from cognitionos.platform.config import Settings

MAX_BODY_BYTES = 48 * 2**20  # inputs of a goal: 32 MiB, as base64


def create_app(settings: Settings | None = None) -> Litestar:
    """The application, built but not open: its services open on the server's own loop."""
    settings = settings or Settings()
    logging.configure(settings)
    flush_traces = telemetry.configure(settings, service="api")
    services = build(settings)

    @asynccontextmanager
    async def life(_app: Litestar) -> AsyncIterator[None]:
        await services.open()
        try:
            yield
        finally:
            await services.close()
            flush_traces()

    app = Litestar(
        route_handlers=[health.routes(services.base.database, services.base.redis), http_document.document],
        lifespan=[life],
        dependencies={"who": Provide(http_api.principal_of)},
        exception_handlers=http_problems.HANDLERS,
        openapi_config=http_document.openapi_config(__version__),
        plugins=[http_document.CommonErrors()],
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )
    return middleware.observe(app)
