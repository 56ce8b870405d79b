"""CognitionOS: the backend for running AI agents in production."""

__version__ = "0.1.0"
