"""The database: changes, journal, decisions, leases, outbox, ledger."""
