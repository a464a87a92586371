"""Numbers and words as people and scripts read them."""

import math
from typing import Any


def plain(value: Any) -> Any:
    """Python numbers only (numpy's included), six decimals, and null for what JSON has no word for."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if hasattr(value, "item"):  # a numpy or torch scalar
        return plain(value.item())
    if isinstance(value, int):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return round(number, 6)


def shorten(text: str, width: int) -> str:
    """Cuts the middle out of a long path: its start says where, its end says what."""
    if len(text) <= width:
        return text
    if width < 5:
        return text[-width:]
    head = (width - 1) // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
