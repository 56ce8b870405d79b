"""Memory on PostgreSQL with pgvector, and over HTTP."""
