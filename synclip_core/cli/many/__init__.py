"""Thousands of files: work on several processes, rows appended as they come, taken up again where a run ended."""
