"""Rules of agents, roles, tools and verdicts. Pure."""
