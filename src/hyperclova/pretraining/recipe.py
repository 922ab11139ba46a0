"""What a run may do beyond the paper: one switch each, all off by default."""

from dataclasses import dataclass

from hyperclova.errors import UserError
from hyperclova.model.mup import BaseShape
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining import ramp
from hyperclova.pretraining.ramp import Ramp


@dataclass(frozen=True)
class RecipeSection:
    """See docs/recipes.md for the sources."""

    query_key_norm: bool = False
    """LayerNorm over each head's query and key. The model is then no GPT-2."""
    base: BaseShape | None = None
    """Width and heads of the narrow model that the learning rate was found on: it is kept, and
    the wide model's is scaled group by group (muP)."""
    z_loss: float = 0.0
    """Weight of the squared logarithm of the softmax's normaliser; PaLM's was 1e-4."""
    document_mask: bool = False
    """No attention from one packed document to another; positions count within documents."""
    float8: bool = False
    """8-bit products in the blocks' linear layers, on GPUs that have them."""
    batch_ramp: Ramp = ()
    """Smaller batches at first: pairs of ``batch_tokens`` and until how many tokens seen."""
    sequence_ramp: Ramp = ()
    """Shorter sequences at first: pairs of ``sequence_length`` and until how many tokens seen."""

    def __post_init__(self) -> None:
        if self.z_loss < 0:
            raise ValueError(f"z_loss is {self.z_loss}; it must not be negative")

    def check(self, batch_tokens: int, microbatch_tokens: int, sequence_length: int) -> None:
        """Whether the ramps lead to these sizes.

        Raises:
            ValueError: naming the ramp.
        """
        ramp.check("recipe.batch_ramp", self.batch_ramp, batch_tokens)
        ramp.check("recipe.sequence_ramp", self.sequence_ramp, sequence_length)
        for value, _ in self.batch_ramp:
            if value % microbatch_tokens:
                raise ValueError(
                    f"recipe.batch_ramp: {value} is not a multiple of training.microbatch_tokens "
                    f"{microbatch_tokens}"
                )
        for value, _ in self.sequence_ramp:
            if sequence_length % value:
                raise ValueError(
                    f"recipe.sequence_ramp: {value} does not divide training.sequence_length "
                    f"{sequence_length}"
                )

    def check_layout(self, layout: Layout) -> None:
        """Whether a layout can do what is asked for.

        Raises:
            UserError: it can't; the message names what to change.
        """
        for name in ("batch_ramp", "sequence_ramp"):
            if getattr(self, name) and layout.pp > 1:
                raise UserError(
                    f"recipe.{name}: a pipeline's schedule is made for batches and sequences of "
                    "one size; set layout.pp to 1 or the ramp to []"
                )
