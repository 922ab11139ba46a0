"""Between our parameter names and those of GPT-2 in Hugging Face's layout, both ways, lossless.

GPT-2 keeps its matrices as ``(in, out)`` (``Conv1D``); ours are ``(out, in)`` (``nn.Linear``),
so they are transposed on the way. GPT-2's fused projection has all queries, then all keys, then
all values; ours goes head by head. The head is the token embedding and is not written twice.
Multipliers of width transfer are taken into the weights on the way out.

GPT-2 has no LayerNorm on queries and keys. A model with it is written as ``model_type``
``hyperclova``: the same names and keys, and ``attn.query_norm``, ``attn.key_norm`` besides.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hyperclova.errors import UserError
from hyperclova.model.gpt import GPTConfig
from hyperclova.model.mup import folded

OWN_TYPE = "hyperclova"
"""``model_type`` of what GPT-2 can't express; ``transformers`` doesn't know it."""

_OUTER = {
    "token_embedding.weight": "transformer.wte.weight",
    "position_embedding.weight": "transformer.wpe.weight",
    "final_norm.weight": "transformer.ln_f.weight",
    "final_norm.bias": "transformer.ln_f.bias",
}
_INNER = {
    "attention_norm": "ln_1",
    "attention.query_key_value": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "mlp_norm": "ln_2",
    "mlp.expand": "mlp.c_fc",
    "mlp.contract": "mlp.c_proj",
}
# Buffers and copies that some GPT-2 files carry beside the parameters.
_REDUNDANT = (".attn.bias", ".attn.masked_bias", "lm_head.weight")


def name_pairs(layers: int, query_key_norm: bool = False) -> dict[str, str]:
    """Our parameter name -> GPT-2's, for every parameter of a model with so many layers."""
    pairs = dict(_OUTER)
    for layer in range(layers):
        for norm in ("query_norm", "key_norm") if query_key_norm else ():
            pairs[f"blocks.{layer}.attention.{norm}.weight"] = (
                f"transformer.h.{layer}.attn.{norm}.weight"
            )
        for ours, theirs in _INNER.items():
            for kind in ("weight", "bias"):
                pairs[f"blocks.{layer}.{ours}.{kind}"] = f"transformer.h.{layer}.{theirs}.{kind}"
    return pairs


def _head_by_head(name: str, tensor: Tensor, outer: int, inner: int) -> Tensor:
    """Rows ``(outer, inner, head_width)`` of a fused projection as ``(inner, outer, ...)``."""
    if ".query_key_value." not in name:
        return tensor
    rows = tensor.reshape(outer, inner, -1, *tensor.shape[1:])
    return rows.transpose(0, 1).flatten(0, 2)


def to_gpt2_tensor(name: str, tensor: Tensor, config: GPTConfig) -> Tensor:
    """The parameter called ``name`` in :class:`GPT`, in GPT-2's order and orientation."""
    ordered = _head_by_head(name, folded(name, tensor, config), config.heads, 3)
    is_matrix = tensor.dim() == 2 and name.startswith("blocks.")
    return ordered.t().contiguous() if is_matrix else ordered.contiguous()


def from_gpt2_tensor(name: str, tensor: Tensor, heads: int) -> Tensor:
    """Undo :func:`to_gpt2_tensor`, but for multipliers: what is read has none."""
    is_matrix = tensor.dim() == 2 and name.startswith("blocks.")
    return _head_by_head(name, tensor.t() if is_matrix else tensor, 3, heads).contiguous()


def to_gpt2(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """A state dictionary of :class:`GPT` under GPT-2's names and shapes."""
    return {
        theirs: to_gpt2_tensor(ours, state[ours], config)
        for ours, theirs in name_pairs(config.layers, config.query_key_norm).items()
    }


def checked_gpt2(state: Mapping[str, Tensor], config: GPTConfig, where: str) -> dict[str, Tensor]:
    """The parameters of a GPT-2 state dictionary under their full names, and nothing else.

    Names with or without the ``transformer.`` prefix are read (the bare ``GPT2Model`` has none).

    Raises:
        UserError: a parameter is missing or unknown; the message names ``where`` and it.
    """
    given = {
        name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": tensor
        for name, tensor in state.items()
    }
    names = set(name_pairs(config.layers, config.query_key_norm).values())
    missing = sorted(names - set(given))
    if missing:
        raise UserError(f"{where}: parameter {missing[0]} is missing; is it a GPT-2 model?")
    unknown = sorted(name for name in set(given) - names if not name.endswith(_REDUNDANT))
    if unknown:
        raise UserError(f"{where}: unknown parameter {unknown[0]}; is it a GPT-2 model?")
    head = given.get("lm_head.weight")
    if head is not None and not head.equal(given["transformer.wte.weight"]):
        raise UserError(f"{where}: lm_head differs from the embedding; only tied heads are read")
    return {name: tensor for name, tensor in given.items() if name in names}


def from_gpt2(state: Mapping[str, Tensor], config: GPTConfig, where: str) -> dict[str, Tensor]:
    """A GPT-2 state dictionary under our names and shapes.

    Raises:
        UserError: as for :func:`checked_gpt2`.
    """
    given = checked_gpt2(state, config, where)
    return {
        ours: from_gpt2_tensor(ours, given[theirs], config.heads)
        for ours, theirs in name_pairs(config.layers, config.query_key_norm).items()
    }


def config_to_gpt2(config: GPTConfig, end_of_text_id: int = 0) -> dict[str, Any]:
    """``config.json`` of a model directory."""
    own = config.query_key_norm
    return {
        "architectures": ["HyperclovaForCausalLM" if own else "GPT2LMHeadModel"],
        "model_type": OWN_TYPE if own else "gpt2",
        **({"query_key_norm": True} if own else {}),
        "activation_function": "gelu_new",
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": None,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "tie_word_embeddings": True,
        "bos_token_id": end_of_text_id,
        "eos_token_id": end_of_text_id,
        "dtype": "float32",
    }


def config_from_gpt2(tree: Mapping[str, Any], where: str) -> GPTConfig:
    """The shape described by a GPT-2 ``config.json``.

    Raises:
        UserError: another architecture, or a variant of GPT-2 that computes something else.
    """
    if tree.get("model_type") not in ("gpt2", OWN_TYPE):
        raise UserError(
            f"{where}: model_type is {tree.get('model_type')!r}; only 'gpt2' directories are read"
        )
    activation = tree.get("activation_function", "gelu_new")
    if activation not in ("gelu_new", "gelu_pytorch_tanh"):
        raise UserError(f"{where}: activation_function {activation!r} is not GPT-3's gelu_new")
    for key, plain in (
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("tie_word_embeddings", True),
        ("add_cross_attention", False),
    ):
        if tree.get(key, plain) is not plain:
            raise UserError(f"{where}: {key} = {tree[key]} is not supported")
    width = _size(tree, "n_embd", where)
    if tree.get("n_inner") not in (None, 4 * width):
        raise UserError(f"{where}: n_inner is {tree['n_inner']}; only 4 * n_embd is supported")
    try:
        return GPTConfig(
            vocab_size=_size(tree, "vocab_size", where),
            context_length=_size(tree, "n_positions", where),
            layers=_size(tree, "n_layer", where),
            width=width,
            heads=_size(tree, "n_head", where),
            dropout=float(tree.get("resid_pdrop", 0.0)),
            layer_norm_epsilon=float(tree.get("layer_norm_epsilon", 1e-5)),
            query_key_norm=tree["model_type"] == OWN_TYPE and bool(tree.get("query_key_norm")),
        )
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _size(tree: Mapping[str, Any], key: str, where: str) -> int:
    value = tree.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"{where}: {key} is {value!r}; expected a whole number")
    return value
