"""Train or held out: a function of a document's id alone."""

import hashlib

TRAIN, HELD_OUT = "train", "held-out"


def is_held_out(document_id: str, share: float) -> bool:
    """Whether a document belongs to the held-out split: a hash of its id, nothing else."""
    digest = hashlib.blake2b(document_id.encode(), digest_size=8, person=b"held-out").digest()
    return int.from_bytes(digest, "big") < share * 2**64
