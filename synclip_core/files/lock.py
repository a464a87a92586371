"""One writer a file: two runs in one folder would spoil each other's work."""

import sys
from typing import IO, Any

if sys.platform != "win32":
    import fcntl


def taken_alone(file: IO[Any]) -> bool:
    """False where another process has the open file; a process that ends, or is killed, lets go of it.

    Always True on Windows and on file systems without locks.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True
