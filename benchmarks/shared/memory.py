"""Memory of a process as Linux counts it."""

from pathlib import Path


def memory_mb(field: str, pid: int | str = "self") -> float:
    """field: VmRSS, resident now, or VmHWM, the most since the process began (ru_maxrss starts at the parent's)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
