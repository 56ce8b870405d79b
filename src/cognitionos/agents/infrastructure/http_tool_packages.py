"""Packages for agents' Python, over HTTP."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.agents.infrastructure.sandbox_packages import PackageRow, SandboxPackages
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires


class PutPackage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A wheel: `NAME-VERSION-py3-none-any.whl`, its SHA-256 in hex, and its bytes."""

    file_name: Annotated[str, msgspec.Meta(max_length=200)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    content_base64: bytes


class PackageView(msgspec.Struct, frozen=True, kw_only=True):
    """A package."""

    name: str
    version: str
    file_name: str
    sha256: str
    bytes: int
    changed_at: datetime


class PackageList(msgspec.Struct, frozen=True):
    """The tenant's packages."""

    packages: list[PackageView]


class PackageRoutes(Controller):
    """Packages that agents' Python may import."""

    path = "/v1/tools/packages"
    tags = ("tools",)
    guards = (requires(Permission.TOOLS_ADMIN),)

    @get("", summary="List packages")
    async def list_packages(self, sandbox_packages: NamedDependency[SandboxPackages], who: Who) -> PackageList:
        """By name."""
        return PackageList([_view(each) for each in await sandbox_packages.of(who.tenant_id)])

    @post("", summary="Upload a package", status_code=201, responses=problems(422))
    async def put_package(
        self, data: JSONBody[PutPackage], sandbox_packages: NamedDependency[SandboxPackages], who: Who
    ) -> PackageView:
        """A pure wheel, pinned by its hash; one of the same name is replaced. What it depends on is uploaded too."""
        row = await sandbox_packages.put(
            who.tenant_id, file_name=data.file_name, sha256=data.sha256, content=data.content_base64
        )
        return _view(row)

    @delete("/{name:str}", summary="Delete a package", responses=problems(404))
    async def delete_package(
        self, name: FromPath[str], sandbox_packages: NamedDependency[SandboxPackages], who: Who
    ) -> None:
        """The next call of `python` does not have it."""
        await sandbox_packages.delete(who.tenant_id, name)


def routes(packages: SandboxPackages) -> Router:
    """The router."""
    return Router("/", route_handlers=[PackageRoutes], dependencies={"sandbox_packages": instance(packages)})


def _view(row: PackageRow) -> PackageView:
    return PackageView(
        name=row.name,
        version=row.version,
        file_name=row.file_name,
        sha256=row.sha256,
        bytes=row.bytes,
        changed_at=row.changed_at,
    )
