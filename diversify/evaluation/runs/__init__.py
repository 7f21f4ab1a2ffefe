"""Run folders on disk: rows drawn into part files, put together, and read from where they lie."""
