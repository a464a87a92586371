"""A checkpoint of before regions and the temporal branch is read as what it is, and gives the tokens that it gave."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from synclip_core.checkpoint import FORMAT, load_checkpoint, read_config_of, save_checkpoint
from synclip_core.files.settings import from_dict
from synclip_core.models.config import SyncLipMAEConfig
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.pipeline import SyncPipeline
from train.pretrain.config import load_config

VISUAL = {"image_size": [112, 112], "width": 32, "depth": 2, "heads": 2, "stem": "conv", "face_mask_ratio": 0.6}
OLDER = {
    "name": "older",
    "dim": 16,
    "visual": VISUAL,
    "audio": {"front_end": "mel", "width": 80, "depth": 4, "adapter_width": 16, "adapter_depth": 2},
    "vocal": {"center": True, "context_depth": 2, "context_kernel": 5, "context_width": 16},
    "decoder": {"width": 16, "depth": 1, "heads": 2},
    "geometry_points": 60,
}
# of every third tick from 6 on, rows times the cosines of 0, 1, 2 ..., as commit 421c898 computed them
TOKENS = {
    "prompts": [-10.29641, -6.41473, -9.35752, -8.66029, -9.27721, -6.36135],
    "vocal": [0.32602, 0.83639, 0.50796, 0.04796, 1.06958, 0.33573],
    "identity": [2.57573, 3.47882, 2.73871, 2.24042, 3.1686, 2.25855],
    "ambient": [0.39533, 0.24834, 0.14545, 0.17306, 0.42342, 0.1305],
    "audio": [1.3686, -0.14189, -0.51062, -0.99107, -0.26131, -0.60919],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that follow from their names."""
    config = from_dict(SyncLipMAEConfig, {**OLDER, "visual": {**VISUAL, "view": "mouth"}})
    state = SyncLipMAE(config).state_dict()
    for name, tensor in state.items():
        if tensor.ndim:
            drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=tuple(tensor.shape)) * 0.1
            drawn += "norm" in name and name.endswith("weight")
            state[name] = torch.from_numpy(drawn.astype(np.float32))
    path = tmp_path_factory.mktemp("older") / "older.safetensors"
    save_file(state, path, {"format": FORMAT, "config": json.dumps(OLDER)})
    return path


def test_it_gives_the_tokens_that_it_gave(path: Path) -> None:
    pipeline, rng = SyncPipeline(path), np.random.default_rng(0)
    crops = rng.integers(0, 255, (30, 112, 112, 3), dtype=np.uint8)
    wave = (rng.normal(size=30 * 640) * 0.1).astype(np.float32)
    valid = np.arange(30) % 9 != 4
    prompts = pipeline.encode_crops(crops)
    # it knows no regions, and has one kind of tokens
    regions = rng.random((30, 5, 4), dtype=np.float32)
    np.testing.assert_array_equal(pipeline.encode_crops(crops, regions, identity=False), prompts)
    single = SyncPipeline(pipeline.checkpoint, context=False)
    np.testing.assert_array_equal(single.audio_tokens(wave), pipeline.audio_tokens(wave))
    vocal, identity, ambient = pipeline.face_tokens(prompts, valid)
    np.testing.assert_array_equal(single.vocal_tokens(prompts[:, 1], valid), vocal)
    found = {
        "prompts": prompts.reshape(30, -1),
        "vocal": vocal,
        "identity": identity,
        "ambient": ambient,
        "audio": pipeline.audio_tokens(wave),
    }
    for name, rows in found.items():
        told = rows[6:24:3] @ np.cos(np.arange(rows.shape[1]))
        np.testing.assert_allclose(told, TOKENS[name], atol=2e-4, rtol=1e-4, err_msg=name)


def test_its_header_says_how_it_sees(path: Path, tmp_path: Path) -> None:
    assert read_config_of(path)["visual"]["view"] == "mouth"
    config = load_checkpoint(path).model.config
    assert config.visual.view == "mouth" and config.context.depth == 0 and not config.audio.norm_layers
    yaml_file = tmp_path / "further.yaml"
    yaml_file.write_text(yaml.safe_dump({"init": {"model": str(path)}}))
    assert load_config(yaml_file).model == config  # trained further it stays what it is
    # what is written now says for itself
    new = SyncLipMAE(from_dict(SyncLipMAEConfig, OLDER))
    assert new.config.visual.view == "face"
    save_checkpoint(tmp_path / "new.safetensors", new, {})
    assert load_checkpoint(tmp_path / "new.safetensors").model.config.visual.view == "face"
