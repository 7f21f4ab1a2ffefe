"""Tests that look at the report with a browser; run them with `make test-browser`."""
