"""The tools for the run's files: list, read, write. They work on the store, so there is no way out of the workspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.application.ports import Files, Tool, ToolAnswer, ToolContext
from cognitionos.agents.domain.tool import ToolSpec
from cognitionos.agents.domain.workspace import FileChanges, NewFile, file_name

_SHOWN = 8_000
_NAME = {"type": "string", "minLength": 1, "maxLength": 1024, "description": "such as report.md"}


def _schema(**properties: Mapping[str, Any]) -> dict[str, Any]:
    required = [name for name, schema in properties.items() if "default" not in schema]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


LIST = ToolSpec(name="list_files", description="List the files of the workspace.", parameters=_schema())
READ = ToolSpec(
    name="read_file",
    description=f"Read a text file of the workspace, {_SHOWN} characters from offset.",
    parameters=_schema(name=_NAME, offset={"type": "integer", "minimum": 0, "default": 0}),
)
WRITE = ToolSpec(
    name="write_file",
    description="Write a text file into the workspace; it becomes part of the result. Replaces one of the same name.",
    parameters=_schema(name=_NAME, text={"type": "string", "maxLength": 200_000}),
)


@dataclass(frozen=True, slots=True)
class WorkspaceTools:
    """Files of the run that a call belongs to."""

    files: Files

    @property
    def tools(self) -> tuple[Tool, ...]:
        """As agents know them."""
        return (Tool(spec=LIST, run=self.list), Tool(spec=READ, run=self.read), Tool(spec=WRITE, run=self.write))

    async def list(self, context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        """Names, sizes and origins."""
        found = await self.files.of_run(context.tenant_id, context.run_id)
        shown = [{"name": file.name, "bytes": file.bytes, "origin": file.origin} for file in found]
        return ToolAnswer(content={"files": shown})

    async def read(self, context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        """A part of a text file, and how long it is."""
        file, content = await self.files.read(context.tenant_id, context.run_id, arguments["name"])
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return ToolAnswer(content={"error": f"'{file.name}' is not text; read it with python."}, is_error=True)
        offset = arguments.get("offset", 0)
        told: dict[str, Any] = {"text": text[offset : offset + _SHOWN], "characters": len(text)}
        if offset + _SHOWN < len(text):
            told["next_offset"] = offset + _SHOWN
        return ToolAnswer(content=told)

    async def write(self, context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        """Keep a text file; it is written in the commit of the step."""
        new = NewFile(name=file_name(arguments["name"]), content=arguments["text"].encode("utf-8", "replace"))
        written = {"written": new.name, "bytes": len(new.content)}
        return ToolAnswer(content=written, changes=FileChanges(written=(new,)))
