"""LayerNorm on our own kernel."""

from torch import Tensor, nn

from hyperclova.inference.native.build import load


class NativeLayerNorm(nn.Module):
    """``nn.LayerNorm`` over the last dimension, float32 on a CPU.

    A row's result depends on no other row. It is the norm of the kernel that runs whole decoding
    steps (:mod:`hyperclova.inference.native.decoder`): other passes must round as that one does.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        library = load()
        assert library is not None
        self._call = library.layer_norm
        self._weight = norm.weight.detach().float().contiguous()
        self._bias = norm.bias.detach().float().contiguous()
        self.addresses = (self._weight.data_ptr(), self._bias.data_ptr())
        self._width, self._epsilon = len(self._weight), norm.eps

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self._width)
        if rows.stride(1) != 1:
            rows = rows.contiguous()
        normed = x.new_empty(x.shape)
        self._call(
            *(rows.data_ptr(), rows.shape[0], self._width, rows.stride(0)),
            *(*self.addresses, self._epsilon, normed.data_ptr()),
        )
        return normed
