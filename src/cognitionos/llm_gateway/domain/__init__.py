"""The rules of model calls: what a request is, what it may cost, where it goes, when it is tried again."""
