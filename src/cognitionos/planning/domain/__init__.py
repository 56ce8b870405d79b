"""Goals, plans, runs and tasks: the rules, without I/O."""
