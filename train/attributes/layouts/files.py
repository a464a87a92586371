"""Videos in and below a folder."""

from pathlib import Path

from synclip_core.cli.shared.inputs import VIDEO_SUFFIXES


def videos_below(folder: Path) -> list[Path]:
    """Sorted; hidden files (of macOS archives, `._name.mp4`) are none."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
