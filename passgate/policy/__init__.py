"""Pure decisions: data in, verdict with reasons out."""
