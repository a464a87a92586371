"""Compact shards: the same samples, small; sound where it was, parts of the face where they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from noise_shards import noise_clip, write_noise
from scipy.signal import butter, sosfilt

from synclip_core.faces.geometry import TEMPLATE_REGIONS, face_regions
from train.data.clip import Clip
from train.data.sampling import ClipStore
from train.data.shards import STEP, compact_sample, decode_sample, encode_sample, index_shard
from train.prepare import compact


def voice(seconds: float, seed: int) -> np.ndarray:
    """Noise of the band of speech that swells and fades."""
    rng, count = np.random.default_rng(seed), round(seconds * 16000)
    sound = sosfilt(butter(4, [200, 3400], "band", fs=16000, output="sos"), rng.normal(size=count))
    return (0.3 * sound * (1 + np.sin(np.arange(count) * 2 * np.pi * 3.7 / 16000))).astype(np.float32)


def smooth_clip(index: int = 0, split: str = "train") -> Clip:
    """A soft blob that wanders: what a codec can keep."""
    clip, rng = noise_clip(index, split, file=f"{index}.mp4"), np.random.default_rng(index)
    time, y, x = np.mgrid[0:60, 0:48, 0:48]
    blob = np.exp(-((x - 24 - 10 * np.sin(time / 9)) ** 2 + (y - 24) ** 2) / 80)
    crops = (40 + 180 * blob[..., None] * [1.0, 0.8, 0.6]).astype(np.uint8)
    valid = rng.random(60) < 0.9
    return replace(clip, crops=crops, audio=voice(60 / 25, index), valid=valid)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return smooth_clip()


@pytest.fixture(scope="module")
def back(clip: Clip) -> Clip:
    return decode_sample(clip.key, compact_sample(clip, 24, 24000))


def test_a_compact_sample_tells_the_same(clip: Clip, back: Clip) -> None:
    assert (back.key, back.margin, len(back)) == (clip.key, clip.margin, len(clip))
    assert {k: v for k, v in back.meta.items() if k != "frames"} == clip.meta
    np.testing.assert_array_equal(back.valid, clip.valid)
    assert np.abs(back.geometry - clip.geometry).max() <= STEP / 2 + 1e-6
    assert back.landmarks is None and np.abs(back.regions() - clip.regions()).max() <= 1 / 512
    assert np.ptp(clip.regions()[:, 3], 0).min() > 20 / 512  # it is not one box for all frames
    assert np.abs(back.crops.astype(int) - clip.crops).mean() < 4


def test_positions_may_lie_outside_the_square_and_errors_do_not_add_up(clip: Clip) -> None:
    far = replace(clip, geometry=np.random.default_rng(0).uniform(-3, 4, (60, 60, 2)).astype(np.float32))
    found = decode_sample("x", compact_sample(far, 24, 24000)).geometry
    assert np.abs(found - far.geometry).max() <= STEP / 2 + 1e-5


def test_sound_stays_where_it_was(clip: Clip, back: Clip) -> None:
    assert back.audio.shape == clip.audio.shape
    lags = np.arange(-400, 401)
    middle = slice(1000, len(clip.audio) - 1000)
    likeness = [float(clip.audio[middle] @ np.roll(back.audio, lag)[middle]) for lag in lags]
    assert lags[int(np.argmax(likeness))] == 0
    loud = np.linalg.norm(clip.audio[middle])
    assert max(likeness) / loud / np.linalg.norm(back.audio[middle]) > 0.9
    assert 0.75 < np.linalg.norm(back.audio[middle]) / loud < 1.1  # of noise the codec keeps not all
    # at the very start and end too
    for part in (slice(0, 1600), slice(len(clip.audio) - 1600, None)):
        assert np.corrcoef(clip.audio[part], back.audio[part])[0, 1] > 0.7


def test_shards_of_before_show_the_usual_face() -> None:
    clip = replace(smooth_clip(), landmarks=None)
    for sample in (encode_sample(clip), compact_sample(clip, 24, 24000)):
        regions = decode_sample("x", sample).regions()
        assert regions.shape == (60, 5, 4)
        np.testing.assert_allclose(regions, np.broadcast_to(TEMPLATE_REGIONS, (60, 5, 4)), atol=1 / 512)


def test_whole_samples_keep_landmarks(clip: Clip) -> None:
    whole = decode_sample(clip.key, encode_sample(clip))
    np.testing.assert_allclose(whole.regions(), face_regions(clip.geometry, clip.landmarks), atol=2e-3)


def test_a_folder_is_made_small_once_and_read_as_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "data", tmp_path / "small"
    data.mkdir()
    clips = [smooth_clip(k, "val" if k == 2 else "train") for k in range(3)]
    write_noise(data, clips)
    assert compact.main(["--data", str(data), "--out", str(out)]) == 0
    shard = out / "all.tar"
    assert shard.stat().st_size < 0.6 * (data / "all.tar").stat().st_size
    for split, count in (("train", 2), ("val", 1)):
        one, two = (ClipStore(folder, split, 1.0) for folder in (data, out))
        assert list(one.meta) == list(two.meta) and len(two.meta) == count
        for key in two.meta:
            assert two.meta[key] == one.meta[key]
            np.testing.assert_allclose(two[key].regions(), one[key].regions(), atol=1 / 256)
            assert len(two[key].audio) == len(one[key].audio)
    parts = next(iter(index_shard(shard).values())).parts
    assert set(parts) == {"video.mp4", "audio.ogg", "track.xz", "json"}
    shard.write_bytes(b"kept")
    assert compact.main(["--data", str(data), "--out", str(out)]) == 0 and shard.read_bytes() == b"kept"
    capsys.readouterr()
    assert compact.main(["--data", str(tmp_path / "none"), "--out", str(out)]) == 4
    assert "no shards" in capsys.readouterr().err
