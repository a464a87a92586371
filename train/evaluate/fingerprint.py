"""What cached tokens depend on beside video and weights: the code between file and token, and the face nets."""

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

import synclip_core
from synclip_core.errors import SyncLipError

# Folders and files of the library that stand after tokens, or beside them. What is not listed counts.
DOWNSTREAM = (
    "attributes", "bench", "cli", "demo", "dubbing", "metrics", "objectives", "reading", "render", "sync", "unisync",
    "text.py",
)  # fmt: skip
OTHER_WEIGHTS = ("synclip_", "reader_", "attributes")  # bundled files that no face net reads
LIBRARIES = ("av", "numpy", "pillow", "torch")


@functools.cache
def token_fingerprint() -> str:
    """32 hexadecimal digits that change with the sources, the bundled face nets and the libraries that decode."""
    package = Path(synclip_core.__file__).parent
    return fingerprint_of(package, [f"{name} {version(name)}" for name in LIBRARIES])


def fingerprint_of(package: Path, notes: list[str]) -> str:
    """Of the sources of `package` that are not DOWNSTREAM, of its face nets, and of `notes`.

    Raises SyncLipError where there are no sources or no face nets: a cache keyed by nothing would never be made anew.
    """
    digest = hashlib.blake2b("\n".join(notes).encode(), digest_size=16)
    sources = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in DOWNSTREAM]
    nets = [p for p in package.glob("weights/*.safetensors") if not p.name.startswith(OTHER_WEIGHTS)]
    if not sources or not nets:
        raise SyncLipError(
            f"{package}: {len(sources)} sources and {len(nets)} face networks (weights/*.safetensors) found; the cache "
            "of tokens cannot tell whether it is stale, so install the package whole"
        )
    for path in sorted([*sources, *nets]):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
