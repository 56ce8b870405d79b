"""Doors of agents to the world: sandbox, HTTP, files, tables, routes."""
