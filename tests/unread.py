"""A device that nobody can read: what would wait for a GPU raises, and so does a copy between it and the CPU.

A CUDA graph holds neither. Tensors have a shape and a device and no values (torch's FakeTensorMode), and every operation of
torch is seen, in the backward pass too.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# a kind of device that no machine has, and whose backward pass autograd runs in this thread
UNREAD = torch.device("lazy", 0)


class Copied(AssertionError):
    """An operation on tensors of both devices, or from one to the other."""


class _NoCopies(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)}
        if len(devices) > 1:
            raise Copied(f"{func} on tensors on {' and '.join(sorted(devices))}")
        return result


@contextmanager
def unread_device(module: nn.Module | None = None) -> Iterator[None]:
    """Within the block, tensors on `UNREAD` cannot be read, and the module is there.

    Autocast, which does not know the device, does nothing.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    if module is not None:
        _move(module, mode)
    with mock.patch.object(torch, "autocast", _NoAutocast), mode, _NoCopies():
        yield


class _NoAutocast(nullcontext[None]):
    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()


def _move(module: nn.Module, mode: FakeTensorMode) -> None:
    """Puts the parameters and the buffers of a module on `UNREAD`; what modules share, they share there too."""
    tensors = {id(x): x for x in [*module.parameters(), *module.buffers()]}
    moved = {key: _moved(x, mode) for key, x in tensors.items()}
    for part in module.modules():
        for own in (part._parameters, part._buffers):
            own.update({name: moved[id(x)] for name, x in own.items() if x is not None})


def _moved(tensor: Tensor, mode: FakeTensorMode) -> Tensor:
    there = FakeTensor(mode, tensor.detach().to("meta"), UNREAD)
    return nn.Parameter(there, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else there
