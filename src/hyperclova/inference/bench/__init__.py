"""Measuring an engine or a server under load: prompts, clients, figures. No torch here.

``hyperclova bench serve`` is its front; ``docs/benchmarking.md`` says what each figure means.
"""
