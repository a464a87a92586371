"""How far sound may stray from picture before it counts as out of sync, by the name of the rule or by number."""

import re
from dataclasses import dataclass

from ...errors import SyncLipError


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


# EBU R37 limits sound at the output that feeds transmitters to 40 ms before and 60 ms after the picture (its own page
# says that it sets such limits; the figures as tables of broadcasters list them). ITU-R BT.1359-1 (1998),
# considering g:
# "detectability thresholds are about +45 ms to -125 ms and acceptability thresholds are about +90 ms to -185 ms on the
# average", positive: the sound is early; recommends 2: the overall tolerance shall not exceed +90 ms or -185 ms.
EBU = Tolerance(40.0, 60.0, "EBU R37")
FRAME = Tolerance(40.0, 40.0, "one frame at 25 fps")
RULES = {
    "frame": FRAME,
    "ebu-r37": EBU,
    "itu-r-bt1359": Tolerance(90.0, 185.0, "ITU-R BT.1359-1, acceptable"),
    "itu-r-bt1359-detectable": Tolerance(45.0, 125.0, "ITU-R BT.1359-1, detectable"),
}


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
