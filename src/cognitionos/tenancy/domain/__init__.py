"""Rules of tenancy. Pure."""
