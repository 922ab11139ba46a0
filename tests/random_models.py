"""Small models with random weights, for tests of what runs models."""

from pathlib import Path

from hyperclova.tokenizer import Tokenizer


def write_random_model(tokenizer: Tokenizer, directory: Path, context_length: int) -> Path:
    """A model directory with random weights: 2 layers, width 64.

    The weights are larger than initial ones, so that its distributions are as uneven as a
    trained model's and its continuations do not repeat one token.
    """
    import torch

    from hyperclova.model import GPT, GPTConfig
    from hyperclova.model.directory import save_model

    # Wider than the tokenizer, as vocabularies padded to a round number are.
    vocabulary = tokenizer.vocabulary_size + 16
    model = GPT(GPTConfig(vocabulary, context_length, layers=2, width=64, heads=4), seed=7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(8 if name.startswith("blocks") else 6)
    save_model(model, directory, end_of_text_id=tokenizer.end_of_text_id)
    tokenizer.save(directory)
    return directory
