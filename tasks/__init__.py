"""Steps and checks: one file is one noun."""
