"""Run control, wired."""

from cognitionos.agents.facade import Agents
from cognitionos.composition.base import Base
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.planning.application.forks import Forks
from cognitionos.planning.application.replay import Replay
from cognitionos.planning.application.run_control import RunControl
from cognitionos.planning.application.runs import Begin
from cognitionos.planning.application.values import PURE
from cognitionos.planning.infrastructure.critical_path_queries import CriticalPathQueries
from cognitionos.planning.infrastructure.http_run_control import ControlParts
from cognitionos.planning.infrastructure.recordings import Recordings
from cognitionos.planning.infrastructure.snapshots import Snapshots


def build(base: Base, *, begin: Begin, gateway: Gateway, agents: Agents) -> ControlParts:
    """What acts on runs, and tells about them. No I/O."""
    return ControlParts(
        run_control=RunControl(begin=begin, signals=base.signals, set_aside=agents.set_aside, now=base.now),
        forks=Forks(
            begin=begin,
            signals=base.signals,
            copy_files=agents.copy_files,
            strangers=agents.strangers,
            open_budget=gateway.open_budget,
            now=base.now,
            new_id=base.new_id,
        ),
        snapshots=Snapshots(database=base.database, now=base.now, new_id=base.new_id),
        critical_paths=CriticalPathQueries(database=base.database),
        recordings=Recordings(database=base.database, journals=agents.recorded),
        replay=Replay(agents=agents.replay, pure=PURE),
    )
