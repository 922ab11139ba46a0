"""Exact and near duplicates: what documents share, and which of them to keep.

The steps, each a function of arrays that needs nothing of the others' state::

    exact_key                       equal texts                          → exact_pairs
    MinHash.band_keys_batch         20 keys a document, equal in at least one where texts are alike
    candidate_pairs                 equal keys of one band               → pairs to look at
    verify                          true Jaccard similarity              → pairs that are alike
    keep_best                       pairs, rank of documents             → who is dropped, for whom

Documents are global numbers, unsigned 64-bit. Every result depends on the documents alone, not on
the order in which they come or on who computes what.
"""

from hyperclova.corpus.duplicates.candidates import candidate_pairs, exact_pairs
from hyperclova.corpus.duplicates.clusters import components, keep_best
from hyperclova.corpus.duplicates.minhash import MinHash, collision_probability
from hyperclova.corpus.duplicates.shingling import (
    Shingles,
    exact_key,
    fold,
    shingle_batch,
    shingles,
)
from hyperclova.corpus.duplicates.verification import similarity, verify

__all__ = [
    "MinHash",
    "Shingles",
    "candidate_pairs",
    "collision_probability",
    "components",
    "exact_key",
    "exact_pairs",
    "fold",
    "keep_best",
    "shingle_batch",
    "shingles",
    "similarity",
    "verify",
]
