"""Word lists that we wrote for the rules, and the matcher that finds such words, disguised too."""

from hyperclova.corpus.lexicon.matcher import Entry, Hit, Matcher, load

__all__ = ["Entry", "Hit", "Matcher", "load"]
