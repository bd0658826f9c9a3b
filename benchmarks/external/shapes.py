"""From arrays as others store them to the form of the data: layout, range and type are found, or stated, and always said."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError

Range = tuple[float, float]

LAYOUTS = ("NCHW", "NHWC", "NHW")
# the ranges that are found, the first that fits: float images of most programs
FOUND: tuple[Range, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
# what rounding of float16 adds to a range
SLACK = 1e-3
# the largest value of samples in 0 to 255 is at least this: unclipped floats of 0 to 1 reach 2, and grey levels 16 or 100
LEAST_WHITE = 128
AT_ONCE = 4096


class Fitted(NamedTuple):
    """An array in the form of the data.

    Args:
        array: uint8 (N, C, H, W), or float32 in [0, 1]; float32 (N, D) for points.
        layout: as it was stored; None for points.
        range: as it was stored, in words; None for points.
        bounds: the values that became 0 and 1; None for points and truth values.
        remarks: what a reader should know.
    """

    array: NDArray[Any]
    layout: str | None
    range: str | None
    bounds: Range | None = None
    remarks: tuple[str, ...] = ()


def fit(
    array: NDArray[Any], what: str, shape: Sequence[int], layout: str | None = None, stated: Range | None = None
) -> Fitted:
    """The array in the form of the data.

    Args:
        array: uint8, whole numbers or floats; (N, C, H, W), (N, H, W, C), for grey images (N, H, W), for points (N, D).
        what: the name of the array, for messages.
        shape: of the data, (C, H, W) or (D,).
        layout: NCHW, NHWC or NHW; None finds it.
        stated: the values that become 0 and 1; None finds them among `FOUND`. uint8 has 0 to 255.

    Raises:
        UserError: for another shape, a value that is not finite, or a range that is not found.
    """
    if array.ndim == 0 or not len(array):
        raise UserError(f"{what} is empty; expected {_expected(shape)}")
    if len(shape) == 1:
        if array.shape[1:] != tuple(shape) or array.dtype.kind != "f":
            raise UserError(
                f"{what} has shape {array.shape} and type {array.dtype}; expected float points (N, {shape[0]})"
            )
        points = array.astype(np.float32)
        _finite(points, what)
        return Fitted(points, None, None)
    array, layout = _channels_first(array, what, shape, layout)
    if array.dtype.kind == "b":
        return Fitted(array.astype(np.uint8) * np.uint8(255), layout, "false and true")
    if array.dtype == np.uint8 and stated in (None, (0.0, 255.0)):
        if stated is None and array.max() <= 1:
            raise UserError(
                f"{what} is uint8 and has no value above 1; expected 0 to 255. If 1 is white, state range=[0,1]; if it is black, "
                "range=[0,255]"
            )
        return Fitted(np.ascontiguousarray(array), layout, "0 to 255, uint8", (0.0, 255.0))
    return _scaled(array, what, layout, stated)


def _scaled(array: NDArray[Any], what: str, layout: str, stated: Range | None) -> Fitted:
    _finite(array, what)
    least, most = float(array.min()), float(array.max())
    low, high = stated or _find_range(array, what, least, most)
    scaled, outside = np.empty(array.shape, np.float32), 0
    slack = SLACK * (high - low)
    for start in range(0, len(array), AT_ONCE):
        part = array[start : start + AT_ONCE]
        outside += int(((part < low - slack) | (part > high + slack)).sum())
        scaled[start : start + AT_ONCE] = ((part.astype(np.float64) - low) / (high - low)).clip(0, 1)
    words = f"{low:g} to {high:g}, {array.dtype}, {'stated' if stated else 'found'}"
    if not outside:
        return Fitted(scaled, layout, words, (low, high))
    remark = (
        f"{outside / array.size:.2%} of the values of {what} lie outside {low:g} to {high:g} ({least:.4g} to {most:.4g}) "
        "and are clipped"
    )
    return Fitted(scaled, layout, words, (low, high), (remark,))


def _find_range(array: NDArray[Any], what: str, least: float, most: float) -> Range:
    for low, high in FOUND:
        slack = SLACK * (high - low)
        is_near_white = most >= LEAST_WHITE if high == 255 else array.dtype.kind == "f"
        if low - slack <= least and most <= high + slack and is_near_white:
            return low, high
    known = ", ".join(f"[{low:g},{high:g}]" for low, high in FOUND)
    raise UserError(
        f"{what} has values from {least:.4g} to {most:.4g}, and its range is none of {known}; state range=[LOW,HIGH], the values "
        "of black and white"
    )


def _finite(array: NDArray[Any], what: str) -> None:
    if array.dtype.kind != "f":
        return
    bad = sum(
        int(
            (~np.isfinite(array[start : start + AT_ONCE])).reshape(len(array[start : start + AT_ONCE]), -1).any(1).sum()
        )
        for start in range(0, len(array), AT_ONCE)
    )
    if bad:
        raise UserError(f"{what} has NaN or infinity in {bad:,} of {len(array):,} entries; submit finite numbers")


def _channels_first(
    array: NDArray[Any], what: str, shape: Sequence[int], layout: str | None
) -> tuple[NDArray[Any], str]:
    """The array as (N, C, H, W), and its layout."""
    channels, height, width = shape
    shapes: dict[str, tuple[int, ...]] = {"NCHW": (channels, height, width), "NHWC": (height, width, channels)}
    if channels == 1:
        shapes["NHW"] = (height, width)
    if layout is not None and layout not in shapes:
        raise UserError(f"layout is {layout}; expected {' or '.join(shapes)} for {_expected(shape)}")
    fitting = [name for name, own in shapes.items() if array.shape[1:] == own and layout in (None, name)]
    if not fitting:
        hint = ""
        if array.ndim == 2 and array.shape[1] == channels * height * width:
            hint = "; it is flat: reshape it"
        elif array.ndim == 4 and {array.shape[1], array.shape[3]} & {1, 3} and channels not in array.shape[1::2]:
            hint = f"; the number of channels is not {channels}"
        raise UserError(f"{what} has shape {array.shape}; expected {_expected(shape)}{hint}")
    chosen = fitting[0]
    if chosen == "NHWC":
        array = array.transpose(0, 3, 1, 2)
    return (array[:, None] if chosen == "NHW" else array), chosen


def _expected(shape: Sequence[int]) -> str:
    if len(shape) == 1:
        return f"(N, {shape[0]})"
    channels, height, width = shape
    return f"(N, {channels}, {height}, {width}) or (N, {height}, {width}, {channels})"
