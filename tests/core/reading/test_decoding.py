"""CTC scores, alignment and the joint beam search, against all paths and all texts of small cases."""

import itertools

import numpy as np
import pytest
import torch

from synclip_core.reading.beam import SearchOptions, search
from synclip_core.reading.ctc import PrefixScorer, align
from synclip_core.reading.network import BLANK, LipReader, VsrConfig, hybrid_loss

ROWS, CLASSES = 6, 4


def some_log_probs(seed, rows=ROWS, classes=CLASSES):
    logits = np.random.default_rng(seed).normal(size=(rows, classes)) * 2
    return logits - np.logaddexp.reduce(logits, 1, keepdims=True)


def read(path):
    """The text of a path: repeats collapsed, blanks removed."""
    return tuple(unit for unit, _ in itertools.groupby(path) if unit != BLANK)


def all_texts(log_probs):
    """text -> log probability, by adding up every path."""
    found = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        worth = sum(log_probs[r, unit] for r, unit in enumerate(path))
        found[read(path)] = np.logaddexp(found.get(read(path), -np.inf), worth)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_prefix_scores_are_sums_over_all_paths(seed):
    log_probs = some_log_probs(seed)
    texts, scorer = all_texts(log_probs), PrefixScorer(log_probs)
    units = np.arange(1, CLASSES)
    beam = {(): scorer.start()}
    for _ in range(3):
        last = np.array([prefix[-1] if prefix else BLANK for prefix in beam])
        scores, states = scorer.extend(np.stack(list(beam.values())), last, units)
        grown = {}
        for i, (prefix, state) in enumerate(beam.items()):
            assert scorer.end(state) == pytest.approx(texts.get(prefix, -1e30), rel=1e-9)
            for k, unit in enumerate(units):
                longer = (*prefix, int(unit))
                begun = [worth for text, worth in texts.items() if text[: len(longer)] == longer]
                assert scores[i, k] == pytest.approx(np.logaddexp.reduce(begun) if begun else -1e30, rel=1e-9)
                grown[longer] = states[i, k]
        beam = grown


@pytest.mark.parametrize("text", [(1,), (1, 1), (2, 1, 3), (1, 2, 2)])
def test_alignment_is_the_likeliest_of_all_paths(text):
    log_probs = some_log_probs(7)
    paths = [p for p in itertools.product(range(CLASSES), repeat=ROWS) if read(p) == text]
    best = max(paths, key=lambda path: sum(log_probs[r, unit] for r, unit in enumerate(path)))
    want, end = [], 0
    for unit, group in itertools.groupby(best):
        begin, end = end, end + len(list(group))
        want += [(begin, end)] if unit != BLANK else []
    assert align(log_probs, np.array(text)).tolist() == [list(span) for span in want]


def test_a_text_that_does_not_fit_has_no_alignment():
    assert align(some_log_probs(0, rows=4), np.array([1, 1, 1])) is None  # two blanks are needed: five rows
    assert align(some_log_probs(0, rows=1), np.array([2])).tolist() == [[0, 1]]
    assert align(some_log_probs(0), np.array([], int)).shape == (0, 2)


@pytest.fixture(scope="module")
def reader():
    torch.manual_seed(0)
    config = VsrConfig(
        units=("a", "b", "c"), dim=8, width=16, heads=2, layers=1, kernel=3, decoder_layers=1, upsample=2
    )
    found = LipReader(config).eval()
    for parameter in found.parameters():  # sharper than a fresh network, or every text is as good as the next
        parameter.data *= 2
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ctc_weight", [0.0, 0.4, 1.0])
def test_beam_search_finds_the_best_of_all_texts(reader, seed, ctc_weight):
    tokens = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        rows = torch.ones(1, 3, dtype=torch.bool)
        hidden = reader.encode(tokens, rows)
        log_probs = reader.ctc_log_probs(hidden)[0].double().numpy()
        worth = {}
        ctc = all_texts(log_probs)
        for length in range(5):
            for text in itertools.product((1, 2, 3), repeat=length):
                after = torch.tensor([*text, BLANK])
                follow = reader.next_log_probs(hidden, rows, torch.tensor([[BLANK, *text]]))[0].double()
                attention = float(follow[torch.arange(len(after)), after].sum())
                worth[text] = ctc_weight * ctc.get(text, -1e30) + (1 - ctc_weight) * attention
    best = max(worth, key=worth.get)
    found = search(reader, hidden, SearchOptions(beam=200, ctc_weight=ctc_weight))[0]
    assert tuple(found.units) == best and found.score == pytest.approx(worth[best], abs=1e-4)


def test_no_rows_read_as_nothing(reader):
    assert search(reader, torch.zeros(1, 0, 16))[0].units == []


def test_loss_is_the_mean_of_both_branches_and_ignores_padding(reader):
    tokens = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    valid = torch.tensor([[True] * 3, [True] * 2 + [False]])
    texts = [torch.tensor([1, 2]), torch.tensor([3])]
    total, parts = hybrid_loss(reader, tokens, valid, texts, ctc_weight=0.3, smoothing=0.0)
    ctc, attention, units = 0.0, 0.0, 0
    for row, seen, text in zip(tokens, valid, texts, strict=True):
        rows = seen[None, seen]
        hidden = reader.encode(row[None, seen], rows)
        exact = all_texts(reader.ctc_log_probs(hidden)[0].detach().double().numpy())[tuple(text.tolist())]
        ctc -= exact / len(text) / 2  # torch's mean: by the length of the text, then over clips
        after = torch.cat([text, torch.tensor([BLANK])])
        follow = reader.next_log_probs(hidden, rows, torch.cat([torch.tensor([BLANK]), text])[None])[0]
        attention -= follow[torch.arange(len(after)), after].sum().item()
        units += len(after)
    assert float(parts["ctc"]) == pytest.approx(ctc, abs=1e-4)
    assert float(parts["attention"]) == pytest.approx(attention / units, abs=1e-4)
    assert total.item() == pytest.approx(0.3 * ctc + 0.7 * attention / units, abs=1e-4)


def test_a_path_pays_for_naming_a_unit_out_of_its_time(reader, monkeypatch):
    monkeypatch.setattr("synclip_core.reading.network._SLACK", 0.0)
    tokens, valid = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(2)), torch.ones(1, 3, dtype=torch.bool)
    text, times = torch.tensor([1, 3]), torch.tensor([[0.0, 1.0], [2.0, 2.5]])
    log_probs = reader.ctc_log_probs(reader.encode(tokens, valid))[0].detach().double().numpy()
    fined = log_probs.copy()
    fined[:, 1:] -= 12  # every unit on every row, but for
    fined[0:3, 1] += 12  # ticks 0, 0.5 and 1
    fined[4:6, 3] += 12  # ticks 2 and 2.5
    _, parts = hybrid_loss(reader, tokens, valid, [text], times=[times])
    assert float(parts["ctc"]) == pytest.approx(-all_texts(fined)[(1, 3)] / 2, abs=1e-4)
    _, free = hybrid_loss(reader, tokens, valid, [text], times=[None])
    assert float(free["ctc"]) == pytest.approx(-all_texts(log_probs)[(1, 3)] / 2, abs=1e-4)
