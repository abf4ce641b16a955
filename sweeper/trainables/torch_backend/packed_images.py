"""Convolutions of all replicas on a CPU, with a hand-derived backward pass.

A replica after the other, a few rows at a time, so that what one layer writes is still in the
cache when the next one reads it. Images stay bytes: a block of rows becomes floats just before the
first layer, in the forward and again in the backward pass. Channels are last in memory everywhere.

What computes what was chosen by measurement, on one core of an AMD EPYC with AVX2 whose plain
matrix product comes to 90 GFLOP/s (numpy's OpenBLAS), in GFLOP/s for 32 rows of the layers of the
Atari papers on 84 x 84 x 4 (32 8x8/4, 64 4x4/2, 64 3x3/1), all with channels last:

- forward: oneDNN's convolution 77, 89, 83; columns and a product 45, 75, 82. As one convolution
  with a group for each of five replicas, channels first, it came to 11 to 13 forward and backward.
- the inputs' gradient: oneDNN's 56 to 72 and 66 of the second and third layer; a product whose
  columns are added up 52 and 64.
- the weights' gradient: oneDNN's 61, 59, 53; columns and a product 43, 75, 82. Columns pay where a
  row of the kernel is long enough to be copied at once: from 16 channels on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sweeper.trainables.torch_backend.architecture import Architecture
from sweeper.trainables.torch_backend.filters import Convolution, convolved
from sweeper.trainables.torch_backend.packed_dense import DenseStack, PackedDense
from sweeper.trainables.torch_backend.packed_mlp import activate, backward_activation

__all__ = ["Images", "PackedImages", "can_pack_images"]

Array = NDArray[np.float32]
Images = NDArray[Any]

# What the widest layer of the rows at a time may have: 32 rows of the Atari papers' images. With 8
# and 256 of these it took up to a tenth longer; of images of 10 x 10 32 rows at a time took a fifth
# longer than 512.
_NUMBERS = 32 * 84 * 84 * 4
_FEWEST, _MOST = 8, 512
_COLUMN_CHANNELS = 16  # the fewest for columns


def can_pack_images(architecture: Architecture) -> bool:
    """Whether these are convolutions whose activations can be packed."""
    activations = {architecture.activation}
    activations |= {architecture.head_activation} if architecture.head_hiddens else set()
    has_norm = bool(architecture.head_hiddens) and architecture.head_use_layernorm
    return (
        bool(architecture.convolutions)
        and not has_norm
        and activations <= {"tanh", "relu", "linear"}
    )


class _Block(NamedTuple):
    """What is kept of a few rows of a replica for the backward pass.

    Attributes:
        rows: which.
        inputs: of each layer, padded; of the first one the images are read again.
        outputs: of each layer.
    """

    rows: slice
    inputs: list[Tensor]
    outputs: list[Tensor]


class PackedImages:
    """One encoder of images, on views of its parameters and gradients.

    Attributes:
        units: numbers that it makes of an image.
    """

    def __init__(
        self,
        architecture: Architecture,
        encoder: str,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> None:
        self._activation = architecture.activation
        self._layers: list[_Convolution] = []
        shape, made = architecture.observation_shape, []
        convolutions = _count_convolutions(architecture)
        for i, layer in enumerate(architecture.convolutions[:convolutions]):
            name = f"encoder.{encoder}.{i}"
            scale = 1.0 if i else architecture.input_scale
            convolution = _Convolution(name, layer, shape, parameters, gradients, scale=scale)
            self._layers.append(convolution)
            shape = convolution.shape
            made.append(shape)
        dense = [
            PackedDense.view(f"encoder.{encoder}.{i}", self._activation, parameters, gradients)
            for i in range(convolutions, len(architecture.convolutions))
        ]
        self._shape = shape  # of what the convolutions make of an image, channels last
        self._scale = 1.0 if self._layers else architecture.input_scale  # for the dense layers
        self._has_dense = bool(dense)
        self._dense = DenseStack(dense, math.prod(shape))
        self.units = self._dense.units
        widest = max(math.prod(one) for one in (architecture.observation_shape, *made))
        self._rows = min(max(_NUMBERS // widest, _FEWEST), _MOST)
        self._flats: dict[tuple[int, ...], Array] = {}
        self._images: Images | None = None
        self._kept: list[list[_Block]] = []

    def forward(self, images: Images, kept: int = 0) -> Array:
        """``float32[replicas, rows, units]``, valid until the next call for as many rows.

        Args:
            images: ``[replicas, rows, height, width, channels]``, bytes or floats.
            kept: of how many of the first rows `backward` will be asked.
        """
        replicas, rows = images.shape[:2]
        self._images = images
        self._kept = [[] for _ in range(replicas)]
        flat = self._allocate(replicas, rows)
        for replica in range(replicas):
            for block in _blocks(rows, kept, self._rows):
                hidden = torch.from_numpy(images[replica, block])
                inputs, outputs = [], []
                for layer in self._layers:
                    inputs.append(layer.read(hidden))
                    hidden = layer.apply(replica, inputs[-1])
                    activate(hidden.numpy()[None], self._activation)
                    outputs.append(hidden)
                self._unflatten(flat[replica, block]).copy_(hidden)
                if block.stop <= kept:
                    del inputs[:1]
                    self._kept[replica].append(_Block(block, inputs, outputs))
        if self._scale != 1:
            flat *= np.float32(self._scale)
        return self._dense.forward(flat)

    def backward(self, gradient: Array) -> None:
        """Write the gradients of all parameters.

        Args:
            gradient: of what `forward` made of the rows that it kept,
                ``float32[replicas, kept, units]``; it is overwritten.

        Raises:
            AssertionError: nothing went forward.
        """
        if self._images is None:
            raise AssertionError("backward comes after forward")
        below = self._dense.backward(gradient, needs_below=bool(self._layers))
        if not self._layers:
            return
        for replica, blocks in enumerate(self._kept):
            for layer in self._layers:
                layer.begin_gradients()
            for block in blocks:
                images = torch.from_numpy(self._images[replica, block.rows])
                above = self._unflatten(below[replica, block.rows]).contiguous()
                self._backward_block(replica, block, images, above)
            for layer in self._layers:
                layer.end_gradients(replica)

    def _backward_block(
        self, replica: int, block: _Block, images: Tensor, gradient: Tensor
    ) -> None:
        for i in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[i]
            backward_activation(gradient, block.outputs[i], self._activation)
            inputs = block.inputs[i - 1] if i else layer.read(images)
            layer.add_gradients(replica, inputs, gradient)
            if i:
                gradient = layer.propagate(replica, inputs, gradient)

    def _unflatten(self, flat: Array) -> Tensor:
        """A view ``[rows, height, width, channels]`` of what goes into the dense layers.

        Their kernels have the channels first; without them RLlib flattens with the channels last.
        """
        height, width, channels = self._shape
        if self._has_dense:
            return torch.from_numpy(flat).view(-1, channels, height, width).permute(0, 2, 3, 1)
        return torch.from_numpy(flat).view(-1, height, width, channels)

    def _allocate(self, replicas: int, rows: int) -> Array:
        shape = replicas, rows, math.prod(self._shape)
        if shape not in self._flats:
            self._flats[shape] = np.empty(shape, dtype=np.float32)
        return self._flats[shape]


class _Convolution:
    """One layer of all replicas; images have their channels last.

    Attributes:
        shape: of what it makes of an image.
    """

    def __init__(
        self,
        name: str,
        layer: Convolution,
        shape: tuple[int, ...],
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        *,
        scale: float,
    ) -> None:
        self._scale = scale
        self._weight, self._bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        self._weight_gradient = gradients[f"{name}.weight"]
        self._bias_gradient = gradients[f"{name}.bias"]
        self._kernel, self._stride = layer.kernel, layer.stride
        height, width, self._channels = shape
        left, right, top, bottom = layer.padding
        self._padded = height + top + bottom, width + left + right, self._channels
        self._inner = slice(top, top + height), slice(left, left + width)
        self._is_padded = any(layer.padding)
        self.shape = *convolved((height, width), layer), layer.channels
        self._columns, self._ones = np.empty((2, 0), dtype=np.float32)
        # The sum over blocks, in the order in which products come.
        self._has_columns = self._channels >= _COLUMN_CHANNELS
        inner = (*self._kernel, self._channels) if self._has_columns else self._weight.shape[2:]
        self._weight_sum = torch.zeros((layer.channels, *inner), dtype=torch.float32)
        self._bias_sum = torch.zeros(layer.channels, dtype=torch.float32)

    def read(self, images: Tensor) -> Tensor:
        """Images as padded floats; without a copy if they are that."""
        if self._is_padded:
            padded = torch.zeros((len(images), *self._padded), dtype=torch.float32)
            padded[:, self._inner[0], self._inner[1]] = images
            return padded
        if images.dtype == torch.float32 and images.is_contiguous():
            return images
        floats = torch.empty(images.shape, dtype=torch.float32)
        if images.is_contiguous():
            return floats.copy_(images)
        # Of images with channels first, one copy of all took three times as long.
        for channel in range(images.shape[-1]):
            floats[..., channel] = images[..., channel]
        return floats

    def apply(self, replica: int, padded: Tensor) -> Tensor:
        """The outputs before the activation."""
        weight, bias = self._scaled_weight(replica), self._bias[replica]
        outputs = functional.conv2d(padded.permute(0, 3, 1, 2), weight, bias, self._stride)
        return outputs.permute(0, 2, 3, 1).contiguous()

    def begin_gradients(self) -> None:
        """Before the first of a replica's `add_gradients`."""
        self._weight_sum.zero_()
        self._bias_sum.zero_()

    def add_gradients(self, replica: int, padded: Tensor, gradient: Tensor) -> None:
        """Add those of a replica's weights and biases, given that of the outputs."""
        if self._has_columns:
            rows = gradient.view(-1, gradient.shape[-1]).numpy()
            product = rows.T @ self._to_columns(padded)
            self._weight_sum += torch.from_numpy(product).view(self._weight_sum.shape)
            if len(self._ones) < len(rows):
                self._ones = np.ones(len(rows), dtype=np.float32)
            self._bias_sum += torch.from_numpy(self._ones[: len(rows)] @ rows)
        else:
            of_weight, of_bias = self._differentiate(replica, padded, gradient, 1, 2)
            self._weight_sum += of_weight
            self._bias_sum += of_bias

    def end_gradients(self, replica: int) -> None:
        """Write what was added to a replica's gradients."""
        ordered = self._weight_sum
        if self._has_columns:
            ordered = ordered.permute(0, 3, 1, 2)
        torch.mul(ordered, self._scale, out=self._weight_gradient[replica])
        self._bias_gradient[replica] = self._bias_sum

    def propagate(self, replica: int, padded: Tensor, gradient: Tensor) -> Tensor:
        """The gradient of the inputs, without their padding."""
        (below,) = self._differentiate(replica, padded, gradient, 0)
        return below.permute(0, 2, 3, 1)[:, self._inner[0], self._inner[1]].contiguous()

    def _differentiate(
        self, replica: int, padded: Tensor, gradient: Tensor, *wanted: int
    ) -> list[Tensor]:
        """The gradients of inputs (0), scaled weights (1) or biases (2), by oneDNN."""
        weight = self._scaled_weight(replica)
        outcome = torch.ops.aten.convolution_backward(
            gradient.permute(0, 3, 1, 2),
            padded.permute(0, 3, 1, 2),
            weight,
            [len(weight)],
            self._stride,
            [0, 0],
            [1, 1],
            False,  # not transposed
            [0, 0],
            1,
            [which in wanted for which in range(3)],
        )
        return [outcome[which] for which in wanted]

    def _scaled_weight(self, replica: int) -> Tensor:
        """Scaling the weights takes less time than scaling the images."""
        weight = self._weight[replica]
        return weight if self._scale == 1 else weight * self._scale

    def _to_columns(self, padded: Tensor) -> Array:
        """What the kernel sees at each place, ``[rows x places, kernel x channels]``."""
        images = padded.numpy()
        (height, width), (down, right) = self._kernel, self._stride
        row, line, place, number = images.strides
        shape = len(images), *self.shape[:2], height, width * self._channels
        size = math.prod(shape)
        if self._columns.size < size:
            self._columns = np.empty(size, dtype=np.float32)
        columns = self._columns[:size].reshape(shape)
        strides = row, line * down, place * right, line, number
        np.copyto(columns, as_strided(images, shape, strides, writeable=False))
        return columns.reshape(math.prod(shape[:3]), -1)


def _count_convolutions(architecture: Architecture) -> int:
    """How many layers are computed as such: up to the last one that sees more than one place.

    A layer whose kernel covers its whole input is a dense one.
    """
    shape, count = architecture.observation_shape[:2], 0
    for i, layer in enumerate(architecture.convolutions):
        if layer.kernel != shape or any(layer.padding):
            count = i + 1
        shape = convolved((shape[0], shape[1]), layer)
    return count


def _blocks(rows: int, kept: int, at_once: int) -> Iterator[slice]:
    """Some rows at a time; no block has rows of both sides of ``kept``."""
    for first, last in ((0, kept), (kept, rows)):
        for start in range(first, last, at_once):
            yield slice(start, min(start + at_once, last))
