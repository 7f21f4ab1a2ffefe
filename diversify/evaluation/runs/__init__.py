"""Run folders on disk: how rows are drawn into part files, checked, and put together."""
