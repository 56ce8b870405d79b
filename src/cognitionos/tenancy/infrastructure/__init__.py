"""How tenancy meets PostgreSQL and HTTP."""
