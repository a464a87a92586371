"""Fixtures that all tests share. `data_dir`: the folder of real clips; who asks for it skips where it is missing.

`pytest` alone runs the quick tests, `pytest --all` the slow ones too, as `.ci/run` does. What is named on the command
line is run, slow or not.
"""

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

# They train, start programs or servers, or go through many files; the rest takes seconds a file.
SLOW = set(
    """test_ablations test_attribute_training test_compact test_context test_demo_render test_distributed test_dubbing
    test_dubbing_options test_dubbing_report test_dubbing_training test_ears test_evaluate_ends test_eyes test_factors
    test_full_disk test_fuzz test_kept test_nodes_browser test_objectives test_origins test_plan test_prepare
    test_pretrain test_program test_render_cli test_resident test_uneven_frames test_vsr_training test_whisper
    test_worse_files""".split()
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests too")


def pytest_configure(config: pytest.Config) -> None:
    option, named = config.option, config.args_source is pytest.Config.ArgsSource.ARGS
    if not (named or option.all or option.markexpr or option.keyword or hasattr(config, "workerinput")):
        option.markexpr = "not slow"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in SLOW or item.path.stem.endswith("_live"):
            item.add_marker(pytest.mark.slow)


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
