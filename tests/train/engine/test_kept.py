"""Tokens and prompts that are kept on disk are made anew when what they were made of has changed."""

import copy
from dataclasses import replace

import numpy as np
import torch
from noise_shards import noise_clip, write_noise

from synclip_core.checkpoint import load_checkpoint
from train.data.sampling import ClipStore
from train.data.texts import Spoken
from train.dubbing.tokens import load_tokens
from train.engine.kept import content_key, prompts_key
from train.reading.features import load_utterances


def store_of(folder, clip):
    folder.mkdir(exist_ok=True)
    return ClipStore(write_noise(folder, [clip]), "train", 1.0)


def test_the_key_follows_pictures_sound_record_and_settings(tmp_path):
    clip = noise_clip(1, file="a.mp4")
    same = content_key(store_of(tmp_path, clip), clip.key, 2)
    assert content_key(store_of(tmp_path, clip), clip.key, 2) == same
    assert content_key(store_of(tmp_path, clip), clip.key, 3) != same
    crops = clip.crops.copy()
    crops[10] = 255 - crops[10]
    for other in (
        replace(clip, audio=np.roll(clip.audio, 640)),
        replace(clip, crops=crops),
        replace(clip, meta={**clip.meta, "offset": 3}),
    ):
        assert content_key(store_of(tmp_path, other), clip.key, 2) != same


def test_tokens_follow_a_new_offset(tmp_path):
    """What train.offsets wrote after a first run counts in the second."""
    checkpoint, clip = load_checkpoint(None), noise_clip(1, file="a.mp4")
    cache = tmp_path / "tokens"
    first = load_tokens(checkpoint, store_of(tmp_path / "shards", clip), cache)[clip.key]
    moved = replace(clip, meta={**clip.meta, "offset": 3})
    second = load_tokens(checkpoint, store_of(tmp_path / "shards", moved), cache)[clip.key]
    torch.testing.assert_close(second.audio[3:], first.audio[:-3], rtol=0, atol=0)
    assert not torch.equal(second.audio, first.audio)
    again = load_tokens(checkpoint, store_of(tmp_path / "shards", clip), cache)[clip.key]
    torch.testing.assert_close(again.audio, first.audio, rtol=0, atol=0)


def test_a_readers_features_follow_the_sound(tmp_path):
    checkpoint, clip = load_checkpoint(None), noise_clip(1, file="a.mp4")
    corpus = {clip.meta["file"].rsplit(".", 1)[0]: Spoken("bin blue")}

    def audio(clip):
        store_of(tmp_path / "shards", clip)
        (found,) = load_utterances(checkpoint, tmp_path / "shards", "train", corpus, 1, tmp_path / "features")
        return found.audio

    first = audio(clip)
    louder = replace(clip, audio=clip.audio * 0.5)
    assert np.abs(audio(louder)).mean() < 0.6 * np.abs(first).mean()


def test_prompts_of_one_encoder_are_kept_for_all_its_heads():
    model = load_checkpoint(None).model
    key = prompts_key(model)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.vocal.proj.weight += 1
        changed.hearing.proj.weight += 1
    assert prompts_key(changed) == key
    with torch.no_grad():
        next(changed.visual.parameters()).add_(1e-3)
    assert prompts_key(changed) != key
