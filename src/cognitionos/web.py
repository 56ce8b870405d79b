"""The API process: one Litestar application over the services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide

from cognitionos import __version__
from cognitionos.composition import build
from cognitionos.platform import health, http_api, http_problems, logging, middleware, telemetry
from cognitionos.platform.config import Settings


def create_app(settings: Settings | None = None) -> Litestar:
    """The application, built but not open: its services open on the server's own loop."""
    settings = settings or Settings()
    logging.configure(settings)
    telemetry.configure(settings, service="cognitionos-api")
    services = build(settings)

    @asynccontextmanager
    async def life(_app: Litestar) -> AsyncIterator[None]:
        await services.open()
        try:
            yield
        finally:
            await services.close()

    return Litestar(
        route_handlers=[health.routes(services.base.database, services.base.redis)],
        lifespan=[life],
        dependencies={"who": Provide(http_api.principal_of, sync_to_thread=False)},
        exception_handlers=http_problems.HANDLERS,
        openapi_config=http_api.openapi_config(__version__),
        middleware=middleware.edge(services),
        logging_config=None,
    )
