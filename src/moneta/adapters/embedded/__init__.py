"""The embedded family: one SQLite file, a key file, log tiles as files."""
