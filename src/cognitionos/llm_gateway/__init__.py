"""Every call to a model: routed, cached, held against budgets, attempted, priced, settled, recorded."""
