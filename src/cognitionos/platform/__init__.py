"""What every context stands on: database, outbox, jobs, bus, Redis, HTTP, telemetry. No business rule lives here."""
