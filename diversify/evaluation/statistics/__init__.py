"""The statistics: paired changes, what chance alone would do, and curves of diversity against quality.

Numbers in, numbers out: nothing here knows of files, models or reports.
"""
