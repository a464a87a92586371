"""Fixtures that all tests share. `data_dir`: the folder of real clips; who asks for it skips where it is missing."""

import os
import signal
import sys
from pathlib import Path

import pytest

# Tests are imported one by one (importlib mode); this lets them share the modules of helpers/.
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

# A script's background job has Ctrl-C ignored, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


def find_data() -> Path | None:
    """$SYNCLIP_DATA, or ../shared/data beside the repository; None where neither holds clips.csv."""
    named = os.environ.get("SYNCLIP_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if (folder / "clips.csv").is_file() else None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    folder = find_data()
    if folder is None:
        pytest.skip("real clips are not here: set SYNCLIP_DATA to their folder")
    return folder
