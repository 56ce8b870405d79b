"""Who does a task, and with what: agent definitions, prompts, runs, tools."""
