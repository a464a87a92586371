"""The one exception for everything a user can cause."""


class SyncLipError(Exception):
    """Names the file or field, what was expected, what came, and what to do about it."""
