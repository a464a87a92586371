"""Most bytes of tensors that are alive at once, on a device whose allocator keeps no count."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Watches every operation under it; views count once. What kernels use inside, and a process beside its tensors
    (libraries, thread stacks, freed memory that is not given back), is not in it."""

    def __init__(self, present: Iterable[Tensor]) -> None:
        """present: tensors that are there already."""
        super().__init__()
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        for tensor in present:
            self._add(tensor)
        self.peak = self._now()

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._live.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))

    def _now(self) -> int:
        return sum(size for _, size in self._live.values())

    def __torch_dispatch__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        # the dead go first: a new storage may have the address of an old one
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        self.peak = max(self.peak, self._now())
        return out
