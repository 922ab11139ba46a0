"""GPT in the paper's eight sizes, model directories, and what a model costs."""

from hyperclova.model.gpt import GPT, GPTConfig
from hyperclova.model.sizes import SIZES, Size

__all__ = ["GPT", "SIZES", "GPTConfig", "Size"]
