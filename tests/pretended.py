"""A GPU that is pretended: the CPU computes, and every tensor says on which of the two devices it would be.

What mixes devices in one operation fails on a GPU only. Here it fails on a CPU. Operations that Python calls are seen; what torch
does inside of them is torch's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
# indices on the CPU are moved by torch itself
MAY_INDEX = {Tensor.__getitem__, Tensor.__setitem__}
TO_CPU = {Tensor.cpu, Tensor.tolist, Tensor.item, Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__len__}


class Mixed(AssertionError):
    """An operation on tensors of two devices."""


def is_on_gpu(x: Tensor) -> bool:
    # torch.func.grad wraps without a call from Python: such a tensor has no mark of its own
    while not hasattr(x, "_is_pretended") and torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return getattr(x, "_is_pretended", False)


def put(x: Any, on_gpu: bool) -> Any:
    """Marks the tensors in x."""
    with torch._C.DisableTorchFunction():
        for tensor in tree_leaves(x):
            if isinstance(tensor, Tensor):
                tensor._is_pretended = on_gpu  # type: ignore[attr-defined]
    return x


def is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class PretendedGPU(TorchFunctionMode):
    """Follows the device of each tensor through Python's calls of torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", str(func))
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func == Tensor.device.__get__:
            return GPU if is_on_gpu(args[0]) else torch.device("cpu")
        if func == Tensor.is_cuda.__get__:
            return is_on_gpu(args[0])
        if func in (Tensor.numpy, Tensor.__array__) and is_on_gpu(args[0]):
            raise Mixed("an array of a tensor on the GPU")
        # where the result is, if the call says it
        named = [leaf for leaf in (*args[1:], kwargs.get("device")) if isinstance(leaf, str | torch.device)]
        asked = next((is_gpu(d) for d in named), None)
        if func is Tensor.to and len(args) > 1 and isinstance(args[1], Tensor):
            asked = is_on_gpu(args[1])
        plain = lambda leaf: torch.device("cpu") if isinstance(leaf, torch.device) else leaf  # noqa: E731
        args, kwargs = tree_map(plain, args), tree_map(plain, kwargs)
        if isinstance(kwargs.get("device"), str):
            kwargs["device"] = "cpu"
        if func is Tensor.to:
            args = tuple("cpu" if isinstance(a, str) else a for a in args)
        # a copy's other argument is what was copied before
        of_first = func in MAY_INDEX or name == "__deepcopy__"
        values = leaves[:1] if of_first else [leaf for leaf in leaves if leaf.dim() > 0 or is_on_gpu(leaf)]
        where = {is_on_gpu(leaf) for leaf in values}
        moves = func in (Tensor.to, Tensor.copy_, Tensor.cpu) or name in ("__set__", "__get__", "type_as")
        if len(where) > 1 and not moves:
            raise Mixed(f"{name} of tensors on two devices: {[(tuple(v.shape), is_on_gpu(v)) for v in values]}")
        # every generator is on the CPU here, and a real one draws on its own device alone
        if kwargs.get("generator") is not None and (asked or any(where)):
            raise Mixed(f"{name} on the GPU with a generator on the CPU")
        result = func(*args, **kwargs)
        if func in TO_CPU:
            on_gpu = False
        elif asked is not None:
            on_gpu = asked
        elif func is Tensor.copy_ or name == "__set__":
            return result
        else:
            on_gpu = any(where)
        if func in (Tensor.to, Tensor.cpu) and any(result is leaf for leaf in leaves) and is_on_gpu(result) != on_gpu:
            result = result.clone()
        if any(result is leaf for leaf in leaves):
            return result
        return put(result, on_gpu)


def move(module: torch.nn.Module) -> None:
    """Puts a module on the pretended GPU."""
    put([*module.parameters(), *module.buffers()], True)


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Within the block tensors have one of two devices."""
    to_array, from_array = np.asarray, np.array

    def checked(make: Any) -> Any:
        def call(x: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(x, Tensor) and is_on_gpu(x):
                raise Mixed("an array of a tensor on the GPU")
            return make(x, *args, **kwargs)

        return call

    new_parameter = torch.nn.Parameter.__new__

    def parameter(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        made = new_parameter(cls, data, requires_grad)
        return put(made, isinstance(data, Tensor) and is_on_gpu(data))

    with (
        PretendedGPU(),
        # Python's wrapper of a tensor, which torch's functions do not see
        mock.patch.object(torch.nn.Parameter, "__new__", staticmethod(parameter)),
        mock.patch.object(np, "asarray", checked(to_array)),
        mock.patch.object(np, "array", checked(from_array)),
    ):
        yield
