"""Providers, stores, caches and the HTTP surface of model calls."""
