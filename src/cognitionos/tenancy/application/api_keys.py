"""Making, ending and replacing API keys."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.tenancy.application.ports import Begin
from cognitionos.tenancy.domain.api_key import ApiKey, Digest, KeyText, Random, ScopeNotHeld, issue, require_held


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new key and its text, which is shown to its holder this once."""

    key: ApiKey
    text: KeyText


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """The keys of a tenant. Nobody gives away more than they have."""

    begin: Begin
    now: Clock
    new_id: Callable[[], UUID]
    random: Random
    digest: Digest

    async def create(
        self,
        who: Principal,
        name: str,
        *,
        scopes: frozenset[Permission],
        expires_at: datetime | None = None,
        project_id: UUID | None = None,
    ) -> Issued:
        """A key with `scopes` for the caller's project, or for another one of the tenant (needs `tenant:admin`).

        Raises `ScopeNotHeld`, `ScopesMissing`, `ExpiryInvalid`, `NameInvalid`, `ProjectNotFound`.
        """
        require_held(scopes, by=who)
        project_id = project_id or who.project_id
        if project_id != who.project_id and not who.may(Permission.TENANT_ADMIN):
            raise ScopeNotHeld("A key for another project needs a key with the scope 'tenant:admin'.")
        return await self._issue(
            who.tenant_id, project_id, name, scopes=scopes, expires_at=expires_at, created_by=who.api_key_id
        )

    async def create_first(self, tenant_id: UUID, project_id: UUID, name: str) -> Issued:
        """A key that may do everything; the operator makes it, from the command line."""
        return await self._issue(tenant_id, project_id, name, scopes=frozenset(Permission))

    async def revoke(self, who: Principal, key_id: UUID) -> None:
        """End a key: at once in this process, within 5 s in others. Raises `ApiKeyNotFound`."""
        async with self.begin(who.tenant_id) as work:
            key = await work.api_keys.get(key_id)
            work.publish(*key.revoke(self.now()))

    async def rotate(self, who: Principal, key_id: UUID, *, overlap_s: int) -> Issued:
        """A successor with the same name, project, scopes and end; the old key works for `overlap_s` more seconds.

        What limits the old key limits both: its budgets are those of its successors too.

        Raises `ApiKeyNotFound`, `ApiKeyEnded`, `ScopeNotHeld`.
        """
        text, now = KeyText.generate(self.random), self.now()
        async with self.begin(who.tenant_id) as work:
            old = await work.api_keys.get(key_id)
            require_held(old.scopes, by=who)
            expires_at = old.expires_at
            successor_id = self.new_id()
            handed_over = old.hand_over(successor_id, overlap_s=overlap_s, now=now)
            key, created = issue(
                text,
                key_id=successor_id,
                tenant_id=old.tenant_id,
                project_id=old.project_id,
                name=old.name,
                scopes=old.scopes,
                digest=self.digest,
                now=now,
                created_by=who.api_key_id,
                replaces=old.id,
                expires_at=expires_at,
            )
            await work.api_keys.add(key)
            work.publish(*created, *handed_over)
        return Issued(key=key, text=text)

    async def _issue(
        self,
        tenant_id: UUID,
        project_id: UUID,
        name: str,
        *,
        scopes: frozenset[Permission],
        expires_at: datetime | None = None,
        created_by: UUID | None = None,
    ) -> Issued:
        text = KeyText.generate(self.random)
        key, events = issue(
            text,
            key_id=self.new_id(),
            tenant_id=tenant_id,
            project_id=project_id,
            name=name,
            scopes=scopes,
            digest=self.digest,
            now=self.now(),
            created_by=created_by,
            expires_at=expires_at,
        )
        async with self.begin(tenant_id) as work:
            await work.tenants.project(project_id)
            await work.api_keys.add(key)
            work.publish(*events)
        return Issued(key=key, text=text)
