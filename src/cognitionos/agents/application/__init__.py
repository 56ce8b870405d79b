"""Use cases of agents, and the ports they need."""
