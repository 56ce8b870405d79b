"""The worker's loop that removes from its machine what agents' Python no longer needs there."""

import asyncio
from dataclasses import dataclass

from cognitionos.agents.infrastructure.python_tool import PythonTool
from cognitionos.agents.infrastructure.sandbox_packages import SandboxPackages
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
SWEEP_S = 600.0


@dataclass(frozen=True, kw_only=True)
class SandboxSweeper:
    """Looks every ten minutes: for packages that no code had for an hour, and for files of calls that were killed."""

    packages: SandboxPackages
    python: PythonTool

    async def run(self) -> None:
        """Sweep until cancelled; what cannot be removed now is tried again at the next round."""
        while True:
            try:
                packages = await asyncio.to_thread(self.packages.sweep)
                workspaces = await asyncio.to_thread(self.python.sweep)
            except OSError as error:
                log.warning("sandbox_not_swept", reason=str(error))
            else:
                if packages or workspaces:
                    log.info("sandbox_swept", packages=packages, workspaces=workspaces)
            await asyncio.sleep(SWEEP_S)
