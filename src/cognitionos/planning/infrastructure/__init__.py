"""Planning on PostgreSQL and HTTP."""
