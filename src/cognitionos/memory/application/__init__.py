"""Use cases of memory: remember, recall, forget, consolidate a finished goal."""
