"""The use cases of model calls, each reading as its list of steps."""
