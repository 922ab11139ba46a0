"""What a model costs, computed from its shape alone.

``d`` is the width, ``L`` the layers, ``V`` the vocabulary, ``T`` the tokens in the context.
"""

from hyperclova.model.shape import GPTConfig


def parameters(config: GPTConfig) -> int:
    """``V d + C d + L (12 d^2 + 13 d) + 2 d`` with context length ``C``; the head is tied.

    With LayerNorm on queries and keys, two gains of a head's width more in every layer.
    """
    d = config.width
    per_layer = 12 * d * d + 13 * d + (2 * config.head_width if config.query_key_norm else 0)
    return (config.vocab_size + config.context_length) * d + config.layers * per_layer + 2 * d


def forward_flops_per_token(config: GPTConfig, context: int | None = None) -> int:
    """Floating-point operations of one forward pass, per token of a sequence of ``context``.

    ``2 (12 L d^2 + V d) + 4 L T d``: a multiply and an add for every matrix entry, and the two
    products of attention over all ``T`` positions. Attention is counted in full, as
    ``torch.utils.flop_counter`` and the PaLM formula do, although causal kernels skip half.
    """
    time = context or config.context_length
    d, layers = config.width, config.layers
    return 2 * (12 * layers * d * d + config.vocab_size * d) + 4 * layers * time * d


def training_flops_per_token(config: GPTConfig, context: int | None = None) -> int:
    """Forward and backward: three times the forward pass (each product has two gradients)."""
    return 3 * forward_flops_per_token(config, context)


def kv_cache_bytes(config: GPTConfig, tokens: int = 1, bytes_per_element: int = 4) -> int:
    """Keys and values of ``tokens`` positions: ``2 L d`` elements each."""
    return 2 * config.layers * config.width * tokens * bytes_per_element


def activation_bytes(config: GPTConfig, batch: int, time: int, bytes_per_element: int = 4) -> int:
    """What autograd keeps for the backward pass of :meth:`GPT.hidden`, without dropout.

    Per token and layer, in elements: the inputs of both LayerNorms (2 d) and their outputs (2 d),
    query, key and value (3 d), the attended values (d), the MLP's inner layer before and after
    GELU (8 d): 16 d. Besides, four LayerNorm statistics and one log-sum-exp per head. The final
    LayerNorm adds its input and two statistics. (Fused attention; Korthikanti et al. 2022, §4,
    count the same terms in bytes of half precision, with dropout masks and attention matrices.)
    LayerNorm on queries and keys adds their normed values (2 d) and four statistics per head,
    width transfer the scaled queries (d) unless they were normed anyway.
    """
    d = config.width
    per_layer = 16 * d + 4 + config.heads
    if config.query_key_norm:
        per_layer += 2 * d + 4 * config.heads
    elif config.query_scale != 1.0:
        per_layer += d
    per_token = config.layers * per_layer + d + 2
    return batch * time * per_token * bytes_per_element
