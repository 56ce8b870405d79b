"""Use cases of planning, and the engine that carries runs out."""
