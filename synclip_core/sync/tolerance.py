"""How far sound may stray from picture before it counts as out of sync, by the name of the rule or by number."""

import re
from dataclasses import dataclass

from ..errors import SyncLipError


@dataclass(frozen=True)
class Tolerance:
    """early_ms, late_ms: how early, how late the sound may be; name: of the rule. Both above or equal to 0."""

    early_ms: float
    late_ms: float
    name: str = ""

    def holds(self, lag_ms: float) -> bool:
        """lag_ms: above 0 the sound is early."""
        return -self.late_ms - 1e-6 <= lag_ms <= self.early_ms + 1e-6

    @property
    def words(self) -> str:
        return f"{self.early_ms:g} ms early to {self.late_ms:g} ms late" + (f" ({self.name})" if self.name else "")


FRAME = Tolerance(40.0, 40.0, "one frame at 25 fps")
RULES = {"frame": FRAME}


def parse_tolerance(text: str) -> Tolerance:
    """A rule's name, or "EARLY,LATE" in milliseconds such as "40,60". SyncLipError on anything else."""
    name = text.strip().lower()
    if name in RULES:
        return RULES[name]
    number = r"(\d+(?:\.\d+)?)"
    found = re.fullmatch(rf"{number}\s*,\s*{number}", name)
    if not found:
        known = ", ".join(sorted(RULES))
        raise SyncLipError(f"tolerance={text!r}: expected {known}, or EARLY,LATE in milliseconds such as 40,60")
    return Tolerance(float(found[1]), float(found[2]))
