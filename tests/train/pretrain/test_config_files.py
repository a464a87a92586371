"""YAML files that extend one another."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from synclip_core.errors import SyncLipError
from train.pretrain.config import load_config, read_config
from train.reading.config import VsrTrainConfig

CONFIGS = Path(__file__).parents[3] / "train" / "configs"


def write(folder: Path, name: str, data: dict[str, Any]) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_a_file_is_laid_over_the_one_that_it_extends(tmp_path: Path) -> None:
    """Settings one by one, through several files; lists whole; names are looked up beside the file that names them."""
    write(
        tmp_path,
        "first.yaml",
        {"seed": 7, "loss": {"geometry": 0.0, "same_clip": 0.0}, "stages": [{"clips": 2}, {"clips": 4}]},
    )
    write(tmp_path, "inner/second.yaml", {"extends": "../first.yaml", "loss": {"same_clip": 0.25}})
    third = write(tmp_path, "third.yaml", {"extends": "inner/second.yaml", "stages": [{"steps": 5}]})
    config = load_config(third)
    assert (config.seed, config.loss.geometry, config.loss.same_clip) == (7, 0.0, 0.25)
    assert [stage.steps for stage in config.stages] == [5] and config.stages[0].clips == 9


def test_every_program_reads_them(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", {"steps": 3, "data": {"clips": 5}})
    config = read_config(VsrTrainConfig, write(tmp_path, "b.yaml", {"extends": "a.yaml", "steps": 4}))
    assert (config.steps, config.data.clips) == (4, 5)


def test_what_cannot_be_extended_is_named(tmp_path: Path) -> None:
    a = write(tmp_path, "a.yaml", {"extends": "b.yaml"})
    with pytest.raises(SyncLipError, match=r"b\.yaml: cannot read"):
        load_config(a)
    write(tmp_path, "b.yaml", {"extends": "a.yaml"})
    with pytest.raises(SyncLipError, match=r"b\.yaml: extends is 'a\.yaml'"):
        load_config(a)
    (tmp_path / "b.yaml").write_text("- 1", encoding="utf-8")
    with pytest.raises(SyncLipError, match=r"b\.yaml: expected settings by name"):
        load_config(a)
    with pytest.raises(SyncLipError, match=r"extends is 3"):
        load_config(write(tmp_path, "a.yaml", {"extends": 3}))
    write(tmp_path, "b.yaml", {"seeds": 3})
    with pytest.raises(SyncLipError, match="seeds"):
        load_config(write(tmp_path, "a.yaml", {"extends": "b.yaml"}))
