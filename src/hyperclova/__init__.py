"""HyperCLOVA in the open: a Korean GPT from corpus to Studio.

The package is a staircase (see ``docs/architecture.md``): each floor uses the floors below it.
Nothing is imported here, so that ``corpus``, ``tokenizer`` and ``studio`` start without torch.
"""

__version__ = "0.1.0"
