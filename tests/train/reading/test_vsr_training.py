"""Training of the lip reader: corpora as published, what a batch holds, resuming, errors that say what to do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tqdm import tqdm

from synclip_core.checkpoint import load_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.models.synclipmae import normalise
from synclip_core.reading.reader_file import load_reader
from train.data.clip import Clip
from train.data.noise import Noise
from train.data.texts import Spoken, plain, read_corpus, stem
from train.engine.journal import Journal
from train.pretrain.config import read_config
from train.pretrain.prompts import PLAIN, clip_prompts
from train.reading.batches import Batches, unit_times
from train.reading.config import AlignConfig, ReaderConfig, VsrDataConfig, VsrTrainConfig
from train.reading.features import Utterance
from train.reading.finetune import Run, finetune, judge, train_reader
from train.reading.score import ErrorRate
from train.reading.units import Characters, Pieces

# ---- corpora -----------------------------------------------------------------------------------------------------


def test_grid_as_published(tmp_path):
    (tmp_path / "s1" / "align").mkdir(parents=True)
    (tmp_path / "s1" / "align" / "bbaf2n.align").write_text(
        "0 23750 sil\n23750 29500 bin\n29500 34000 blue\n34000 74500 sil\n"
    )
    found = read_corpus(tmp_path, "grid")
    assert found == {"s1/bbaf2n": Spoken("bin blue", (("bin", 0.95, 1.18), ("blue", 1.18, 1.36)))}


def test_lrs_as_published(tmp_path):
    (tmp_path / "main" / "123").mkdir(parents=True)
    (tmp_path / "train.txt").write_text("main/123/00001\n")
    (tmp_path / "main" / "123" / "00001.txt").write_text("Text:  I'M HERE, NOW\nConf:   4\n")
    (tmp_path / "main" / "123" / "00002.txt").write_text(
        "Text:  HELLO THERE\nConf:   3\n\nWORD START END ASDSCORE\nHELLO 0.10 0.52 3.1\nTHERE 0.55 0.90 2.0\n"
    )
    found = read_corpus(tmp_path, "lrs")
    assert found["main/123/00001"] == Spoken("i'm here now")
    assert found["main/123/00002"].words == (("hello", 0.10, 0.52), ("there", 0.55, 0.90))
    assert len(found) == 2


def test_tables(tmp_path):
    (tmp_path / "a.csv").write_text("file,text\nx/one.mp4,Hello -- World!\n")
    assert read_corpus(tmp_path / "a.csv", "csv") == {"x/one": Spoken("hello world")}
    (tmp_path / "b.csv").write_text("file,start_s,end_s,word\none.mp4,0,0.5,sil\none.mp4,0.5,0.75,bin\n")
    assert read_corpus(tmp_path / "b.csv", "aligned") == {"one": Spoken("bin", (("bin", 0.5, 0.75),))}
    (tmp_path / "c.csv").write_text("file,start_s,end_s,word\none.mp4,,,bin\none.mp4,,,blue\n")
    assert read_corpus(tmp_path / "c.csv", "aligned") == {"one": Spoken("bin blue")}
    assert stem("v1.2/clip.of.me.mp4") == "v1.2/clip.of.me" and plain("It's  3_o'clock.") == "it's 3 o'clock"
    for source, layout, words in (
        ("gone.csv", "csv", "expected a CSV table with columns file, text"),
        ("a.csv", "aligned", r"lacks the column\(s\) word, start_s, end_s"),
        (".", "lrs", "no text found"),
    ):
        with pytest.raises(SyncLipError, match=words):
            read_corpus(tmp_path / source, layout)


def test_errors_are_counted_over_all_words():
    rate = ErrorRate()
    rate.add("bin blue at f two now", "bin blue at s two")  # one wrong, one missing
    rate.add("set red", "Set red!")
    assert rate.wer == pytest.approx(100 * 2 / 8)


# ---- batches -----------------------------------------------------------------------------------------------------

LETTERS = "abcdefgh"
SPELLER = Characters([" ".join(LETTERS)])


def utterance(number, ticks=40):
    """Word k is said on ticks 10 k to 10 k + 9, and its prompts say which word of which clip it is."""
    words = [LETTERS[(number + k) % 8] for k in range(ticks // 10)]
    spoken = Spoken(" ".join(words), tuple((w, 0.4 * k, 0.4 * k + 0.4) for k, w in enumerate(words)))
    ids = np.repeat([LETTERS.index(word) for word in words], 10)
    prompts = np.random.default_rng(7).normal(size=(8, 128))[ids][None].repeat(2, 0)
    return Utterance(
        str(number),
        f"{number}.mp4",
        spoken,
        prompts.astype(np.float16),
        np.ones(ticks, bool),
        np.zeros(ticks * 640, np.float16),
    )


def test_a_cut_from_two_utterances_keeps_the_words_that_it_shows():
    """A word counts where its middle is seen: the first with its last five ticks, the last with its first six."""
    config = VsrDataConfig(clips=2, stitch=1.0, speed=0.0, longest_s=2.0, time_masks=0, curriculum_steps=0)
    batches = Batches([utterance(0), utterance(4)], SPELLER, config, 0)
    looks = np.random.default_rng(7).normal(size=(8, 128))
    looks = np.concatenate([looks[:4] - looks[:4].mean(0), looks[4:] - looks[4:].mean(0)])
    cut_short = 0
    for step in range(20):
        batch = batches.batch(step)
        for prompts, valid, text in zip(batch.look, batch.valid, batch.texts, strict=True):
            ids = (prompts[valid].numpy() @ looks.T).argmax(1)
            runs = np.split(ids, np.flatnonzero(np.diff(ids)) + 1)
            shown = [LETTERS[run[0]] for k, run in enumerate(runs) if len(run) >= (5 if k == 0 < len(runs) - 1 else 6)]
            assert "".join((" " + LETTERS)[unit - 1] for unit in text).split() == shown
            cut_short += len(shown) < len(runs)
    assert cut_short > 5


def test_batches_repeat_and_grow_to_the_long_ones():
    config = VsrDataConfig(clips=4, curriculum_steps=10, stitch=0.0)
    batches = Batches([utterance(n, 20 + 10 * n) for n in range(10)], SPELLER, config, 3)
    again = Batches([utterance(n, 20 + 10 * n) for n in reversed(range(10))], SPELLER, config, 3)
    torch.testing.assert_close(batches.batch(5).look, again.batch(5).look)
    early = max(int(batches.batch(0).valid.sum(1).max()) for _ in range(3))
    late = max(int(batches.batch(step).valid.sum(1).max()) for step in range(20, 30))
    assert early <= 60 * 1.3 and late > 90


def test_what_is_heard_takes_the_place_of_what_is_seen(config, tmp_path):
    said = [replace(utterance(n), heard=np.full((40, 128), n + 1, np.float16)) for n in range(4)]
    config = replace(config, data=replace(config.data, heard=0.5, stitch=0.0, speed=0.0, clips=4))
    batch = Batches(said, SPELLER, config.data, 0).batch(400)
    spoken = batch.heard.flatten(1).any(1)
    assert spoken.any() and not spoken.all() and (batch.heard[spoken] >= 1).all()
    run = Run(config, load_checkpoint(None), SPELLER.units, tmp_path, "cpu")
    loss, _ = run.average(batch, Noise(range(4)))
    other = replace(batch, look=torch.where(spoken[:, None, None], batch.look + 1, batch.look))
    torch.testing.assert_close(run.average(other, Noise(range(4)))[0], loss)
    deaf = Batches(said, SPELLER, replace(config.data, heard=0.0), 0).batch(400)
    assert deaf.heard is None


def test_another_persons_tokens_lie_elsewhere_all_along(config, tmp_path):
    run = Run(config, load_checkpoint(None), SPELLER.units, tmp_path, "cpu")
    tokens = torch.randn(2, 5, 128) * 3
    moved = run.student.elsewhere(tokens, Noise([0, 1]))
    assert moved.shape == (2, 1, 128) and moved[0].std() == pytest.approx(3, rel=0.3)
    assert not torch.equal(moved[0], moved[1])


def test_units_have_the_times_of_their_words():
    spans = [(2.0, 5.0), (7.0, 9.0)]
    spelled = SPELLER.spell("ab c")
    assert [unit for unit, _ in spelled] == ["a", "b", " ", "c"]
    assert unit_times([word for _, word in spelled], spans).tolist() == [[2, 5], [2, 5], [2, 9], [7, 9]]
    assert unit_times([word for _, word in spelled], []) is None and unit_times([], []).shape == (0, 2)


def test_pieces_are_learned_once_and_spell_words(tmp_path):
    texts = ["bin blue at f two now", "set blue by a nine soon", "place red with b two again"] * 5
    pieces = Pieces(tmp_path / "pieces.model", texts, 25)
    spelled = pieces.spell("set red at nine")
    assert "".join(unit for unit, _ in spelled) == "▁set▁red▁at▁nine" and len(spelled) < len("set red at nine")
    assert [word for unit, word in spelled if unit.startswith("▁")] == [0, 1, 2, 3]
    assert len(set(pieces.units)) == len(pieces.units) <= 25 and "<unk>" not in pieces.units
    assert Pieces(tmp_path / "pieces.model", ["other texts"], 99).units == pieces.units
    with pytest.raises(SyncLipError, match=r"data\.pieces: 5000 cannot be learned"):
        Pieces(tmp_path / "more.model", texts, 5000)


# ---- the run -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config():
    return VsrTrainConfig(
        data=VsrDataConfig(clips=6, stitch=0.2, curriculum_steps=0, longest_s=2.0),
        reader=ReaderConfig(width=32, heads=2, layers=1, kernel=5, decoder_layers=1),
        steps=6,
        warmup=2,
        validate_every=6,
        checkpoint_every=3,
        reads="letters",
    )


def trained(config, out, *ends):
    """The run after being stopped and started again at each of `ends`."""
    data = [utterance(n) for n in range(8)]
    for end in ends:
        run = Run(config, load_checkpoint(None), SPELLER.units, out)
        out.mkdir(exist_ok=True)
        run.resume()
        with Journal(out) as journal:
            train_reader(run, Batches(data, SPELLER, config.data, 0), data[:2], end, tqdm(disable=True), journal)
    return run


def test_a_resumed_run_is_the_unbroken_one(config, tmp_path):
    whole, broken = trained(config, tmp_path / "a", 6), trained(config, tmp_path / "b", 3, 6)
    for (name, a), b in zip(whole.student.state_dict().items(), broken.student.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
    reader = load_reader(tmp_path / "b" / "reader.safetensors")
    assert reader.metadata["reads"] == "letters" and reader.network.config.units[0] == " "
    assert reader.model == load_checkpoint(None).sha256


def test_another_config_does_not_go_on(config, tmp_path):
    trained(config, tmp_path, 3)
    with pytest.raises(SyncLipError, match="written with another config"):
        trained(replace(config, lr=5e-4), tmp_path, 6)


def test_reading_is_learned(config, tmp_path):
    """Eight words, each with a look of its own: sixty steps tell them apart better than none."""
    longer = replace(
        config, steps=60, validate_every=60, lr=4e-3, data=replace(config.data, stitch=0.0, speed=0.0, time_masks=0)
    )
    untrained = Run(longer, load_checkpoint(None), SPELLER.units, tmp_path)
    before = untrained.learn(Batches([utterance(n) for n in range(8)], SPELLER, longer.data, 0).batch(0))
    run = trained(longer, tmp_path / "x", 60)
    after = run.learn(Batches([utterance(n) for n in range(8)], SPELLER, longer.data, 0).batch(61))
    assert after["attention"] < 0.7 * before["attention"] and after["ctc"] < 0.7 * before["ctc"]
    assert judge(run, [utterance(0)], 2)[0].wer <= 100


def test_settings_and_data_are_checked(tmp_path):
    (tmp_path / "c.yaml").write_text("data: {layout: guess}\n")
    with pytest.raises(SyncLipError, match="data.layout is 'guess'"):
        read_config(VsrTrainConfig, tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("stepz: 3\n")
    with pytest.raises(SyncLipError, match="unknown setting 'stepz'"):
        read_config(VsrTrainConfig, tmp_path / "c.yaml")
    with pytest.raises(SyncLipError, match=r"data\.texts: not set"):
        finetune(VsrTrainConfig(), tmp_path, None)


@pytest.mark.parametrize("loss, audio", [("l1", "tuned"), ("l1", "frozen"), ("conv", "tuned")])
def test_alignment_moves_what_may_move_and_ships_its_model(config, tmp_path, loss, audio):
    aligning = replace(config, unfreeze="head", align=AlignConfig(loss=loss, audio=audio), steps=4, validate_every=4)
    run = trained(aligning, tmp_path, 4)
    before, after = load_checkpoint(None), load_checkpoint(tmp_path / "model.safetensors")
    moved = {
        name.split(".")[0]
        for (name, a), b in zip(before.model.named_parameters(), after.model.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert moved == ({"vocal_head", "adapter"} if audio == "tuned" else {"vocal_head"})
    load_reader(tmp_path / "reader.safetensors").check(after.sha256)
    # the distance itself: mean L1 of unit tokens, over ticks that show the face
    batch = Batches([utterance(n) for n in range(8)], SPELLER, config.data, 0).batch(0)
    listener, vocal = run.average.listener, run.average.tokens(batch.shown, batch.shown_valid, 0.0, Noise([0]))
    with torch.no_grad():  # as the checkpoint that ships gives them, ends and all
        heard = normalise(after.model.audio_tokens(batch.audio))
    if loss == "l1":
        want = (heard - vocal).abs().mean(-1)[batch.shown_valid].mean()
        torch.testing.assert_close(listener(batch.audio, vocal, batch.shown_valid), want)
    assert float(listener(batch.audio, heard, batch.shown_valid)) == 0


def pictured(number):
    """As `utterance`, in pictures instead of prompts."""
    looks = np.random.default_rng(5).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    whole = utterance(number)
    crops = looks[[LETTERS.index(word) for word, _, _ in whole.spoken.words for _ in range(10)]]
    return replace(whole, prompts=np.empty(0), crops=lambda: crops, margin=1 / 14)


def test_the_visual_encoder_learns_from_pictures(config, tmp_path):
    """What is written is what was trained: the model in the file gives the tokens that the run was judged on."""
    seeing = replace(config, unfreeze="encoder", steps=4, validate_every=4, data=replace(config.data, clips=2))
    data = [pictured(n) for n in range(3)]

    def run_to(out, *ends):
        out.mkdir()
        for end in ends:
            run = Run(seeing, load_checkpoint(None), SPELLER.units, out)
            run.resume()
            with Journal(out) as journal:
                train_reader(run, Batches(data, SPELLER, seeing.data, 0), data[:1], end, tqdm(disable=True), journal)
        return run

    whole, broken = run_to(tmp_path / "a", 4), run_to(tmp_path / "b", 2, 4)
    for (name, a), b in zip(whole.student.state_dict().items(), broken.student.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
    before, after = load_checkpoint(None).model, load_checkpoint(tmp_path / "a" / "model.safetensors").model
    moved = {
        name.split(".")[0]
        for (name, a), b in zip(before.named_parameters(), after.named_parameters(), strict=True)
        if not torch.equal(a, b[1])
    }
    assert moved == {"visual", "vocal_head"}
    clip = Clip(
        "0", data[0].crops(), np.zeros((40, 60, 2), np.float32), data[0].valid, np.zeros(25600, np.float32), 1 / 14
    )
    prompts = clip_prompts(after, clip, PLAIN, Noise([0]))[None]
    with torch.inference_mode():
        vocal = normalise(after.vocal_tokens(prompts, torch.from_numpy(clip.valid)[None]))[0].numpy()
    np.testing.assert_allclose(vocal, whole.average.plain_tokens(data[0]), atol=1e-5)
