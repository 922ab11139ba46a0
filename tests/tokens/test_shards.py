"""Shards on disk, streams over them, and batches."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.errors import UserError
from hyperclova.tokens.batches import TokenData, TokenStream, held_out_windows
from hyperclova.tokens.shards import ShardIndex, open_shard, open_shards, write_shard


def write(
    directory: Path,
    documents: list[list[int]],
    source: str = "wiki",
    number: int = 0,
    vocabulary: int = 1000,
    fingerprint: str = "f",
) -> Path:
    arrays = [np.array(document, np.uint32) for document in documents]
    index = ShardIndex(source, len(arrays), sum(map(len, arrays)), 10, vocabulary, fingerprint)
    return write_shard(directory, f"{source}-{number:05}", arrays, index)


@given(documents=st.lists(st.lists(st.integers(0, 99_999), min_size=1, max_size=30), max_size=20))
def test_what_is_written_is_read(
    documents: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("shards"), documents, vocabulary=100_000)
    shard = open_shard(path)
    assert shard.tokens.dtype == np.uint32
    read = [
        shard.tokens[start:end].tolist()
        for start, end in zip(shard.offsets[:-1], shard.offsets[1:], strict=True)
    ]
    assert read == documents


def test_small_vocabularies_take_two_bytes_a_token(tmp_path: Path) -> None:
    assert open_shard(write(tmp_path, [[1, 2, 0]], vocabulary=65_536)).tokens.dtype == np.uint16
    assert open_shard(write(tmp_path, [[1]], vocabulary=65_537)).tokens.dtype == np.uint32


@pytest.mark.parametrize("lost", ["tokens.npy", "offsets.npy"])
def test_a_shard_without_an_array_is_refused(tmp_path: Path, lost: str) -> None:
    write(tmp_path, [[1, 2, 0]])
    (tmp_path / f"wiki-00000.{lost}").unlink()
    with pytest.raises(UserError, match=r"wiki-00000\.json: not a whole token shard"):
        open_shards(tmp_path)


def test_an_array_without_its_json_is_no_shard(tmp_path: Path) -> None:
    write(tmp_path, [[1, 2, 0]]).unlink()
    with pytest.raises(UserError, match="no token shards here"):
        open_shards(tmp_path)


def test_an_array_that_is_not_the_one_counted_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [[1, 2, 0]])
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "tokens": 4}))
    with pytest.raises(UserError, match="says 4 tokens in 1 documents, the arrays hold 3"):
        open_shard(path)


def test_shards_of_two_tokenizers_do_not_mix(tmp_path: Path) -> None:
    write(tmp_path, [[1]], number=0, fingerprint="one")
    write(tmp_path, [[1]], number=1, fingerprint="two")
    with pytest.raises(UserError, match="2 different tokenizers"):
        open_shards(tmp_path)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    data=st.data(),
)
def test_a_stream_reads_across_shards(
    lengths: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("shards")
    whole = list(range(sum(lengths)))
    begin = 0
    for number, length in enumerate(lengths):
        write(directory, [whole[begin : begin + length]], number=number)
        begin += length
    stream = TokenStream(open_shards(directory))
    assert len(stream) == len(whole)
    start = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(1, len(whole) - start))
    assert stream.read(start, length).tolist() == whole[start : start + length]


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    """Two sources that count: wiki 0 .. 999 over two shards, kin 1000 .. 1199."""
    write(tmp_path, [list(range(400))], number=0, vocabulary=2000)
    write(tmp_path, [list(range(400, 1000))], number=1, vocabulary=2000)
    write(tmp_path, [list(range(1000, 1200))], source="kin", vocabulary=2000)
    return tmp_path


def test_windows_are_consecutive_tokens_of_one_source(counting: Path) -> None:
    batch = TokenData(counting, context=10, seed=3).batch(0, 64)
    assert batch.shape == (64, 11)
    assert (np.diff(batch, axis=1) == 1).all()
    assert {row[0] >= 1000 for row in batch.tolist()} == {True, False}


def test_a_batch_is_a_function_of_its_number(counting: Path) -> None:
    data = TokenData(counting, context=10, seed=3)
    whole = data.batch(0, 48)
    later = TokenData(counting, context=10, seed=3)
    parts = [later.batch(start, 16) for start in (32, 0, 16)]
    assert np.array_equal(whole, np.concatenate([parts[1], parts[2], parts[0]]))
    assert not np.array_equal(whole, TokenData(counting, context=10, seed=4).batch(0, 48))


def test_another_epoch_cuts_elsewhere(counting: Path) -> None:
    data = TokenData(counting, context=10, weights={"kin": 1.0}, seed=0)
    per_epoch = data.mixture.windows["kin"]
    first = {row[0] for row in data.batch(0, per_epoch).tolist()}
    second = {row[0] for row in data.batch(per_epoch, per_epoch).tolist()}
    assert len(first) == len(second) == per_epoch
    assert {start % 10 for start in first} != {start % 10 for start in second}


def test_held_out_windows_cover_every_source_in_proportion(counting: Path) -> None:
    rows = held_out_windows(counting, context=10, limit=120)
    assert [row[0] for row in rows.tolist()] == [1000, 1010, *range(0, 100, 10)]
    everything = held_out_windows(counting, context=10, limit=10**9)
    assert len(everything) == 99 + 19


def test_too_little_text_is_said(tmp_path: Path) -> None:
    write(tmp_path, [list(range(15))])
    with pytest.raises(UserError, match="as long as a window of 20 tokens; tokenize with a larger"):
        held_out_windows(tmp_path, context=20, limit=100)
    with pytest.raises(UserError, match="as long as two windows of 10 tokens"):
        TokenData(tmp_path, context=10)
