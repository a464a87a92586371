"""Token files: what is written comes back, and what is none of ours says so."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from synclip_core.errors import SyncLipError
from synclip_core.tokens.token_file import read_tokens, write_tokens


def arrays(length: int = 6) -> dict[str, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(2, length, 4)).astype(np.float32)
    return {"audio": values[0], "vocal": values[1], "speech": np.arange(length) > 1, "valid": np.arange(length) < 4}


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    write_tokens(tmp_path / "t.safetensors", arrays(), "abc", 2)
    found = read_tokens(tmp_path / "t.safetensors")
    assert (found.model, found.faces) == ("abc", 2)
    assert set(found.arrays) == set(arrays())
    for name, array in arrays().items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_a_stream_of_another_length_or_without_its_mask_is_refused(tmp_path: Path) -> None:
    for number, change in enumerate(({"audio": arrays(7)["audio"]}, {"vocal": np.full((6, 4), np.nan, np.float32)})):
        write_tokens(tmp_path / f"{number}.safetensors", arrays() | change, "abc", 1)
        with pytest.raises(SyncLipError, match="do not fit"):
            read_tokens(tmp_path / f"{number}.safetensors")
    without = {key: value for key, value in arrays().items() if key != "speech"}
    write_tokens(tmp_path / "w.safetensors", without, "abc", 1)
    with pytest.raises(SyncLipError, match="do not fit"):
        read_tokens(tmp_path / "w.safetensors")


def test_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"audio": arrays()["audio"]}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name, words in (("other", "holds no tokens"), ("text", "not a safetensors file"), ("missing", "no such file")):
        with pytest.raises(SyncLipError, match=words):
            read_tokens(tmp_path / f"{name}.safetensors")
