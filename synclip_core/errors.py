"""The one exception for everything a user can cause."""


class SyncLipError(Exception):
    """Names the file or field, what was expected, what came, and what to do about it."""


def describe(error: BaseException) -> str:
    """The words of an error of the system or of FFmpeg, without the path that it repeats."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(words)
