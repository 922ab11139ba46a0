"""Near-duplicates found by MinHash against exact Jaccard similarities of all pairs.

    python benchmarks/near_duplicates.py --data DIRECTORY   # *.jsonl.zst of real documents
    python benchmarks/near_duplicates.py                    # documents written here

The sample holds ``--documents`` documents, a tenth of them copies of others with 1 to 30 % of
their words changed. Real documents are chosen by a minimum hash of their own (of a seed that
nothing else uses), as much as possible equally from each file: documents that are alike are then
in the sample together, where a plain sample of one in fifty would hold hardly a pair.

The truth is computed apart from the package: shingles as runs of characters, numbered, not
hashed; all pairs that could reach the lowest similarity by prefix filtering (Bayardo, Ma and
Srikant, "Scaling up all pairs similarity search", WWW 2007), which loses none; their
intersections counted. Times are processor seconds of one core, the best of ``--repeats``.
"""

import argparse
import itertools
import math
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hyperclova.corpus.config import Duplicates
from hyperclova.corpus.documents import read_documents
from hyperclova.corpus.duplicates import (
    MinHash,
    candidate_pairs,
    collision_probability,
    exact_key,
    exact_pairs,
    keep_best,
    shingle_batch,
    verify,
)

FLOOR = 0.6
"""Similarities below are not looked at."""
EDGES = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.01)
console = Console(width=100)


def main() -> None:
    settings = Duplicates()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="directory of *.jsonl.zst")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument(
        "--longest", type=int, default=4_000, help="characters of the longest document taken"
    )
    parser.add_argument("--shingle", type=int, default=settings.shingle)
    parser.add_argument("--bands", type=int, default=settings.bands)
    parser.add_argument("--rows", type=int, default=settings.rows)
    parser.add_argument("--fewest", type=int, default=settings.fewest)
    parser.add_argument("--similarity", type=float, default=settings.similarity)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    originals = arguments.documents - arguments.documents // 10
    texts = (
        real(arguments.data, originals, arguments.longest)
        if arguments.data
        else authored(originals)
    )
    rng = random.Random(0)
    texts += [edited(text, rng) for text in rng.sample(texts, arguments.documents - len(texts))]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    console.print(
        f"{date.today()}, {platform.processor() or platform.machine()}, Python "
        f"{platform.python_version()}, numpy {np.__version__}: {len(texts):,} documents, "
        f"{megabytes:.1f} MB; shingles of {arguments.shingle}, {arguments.bands} × "
        f"{arguments.rows}, similarity ≥ {arguments.similarity}"
    )
    compare(texts, arguments)


def compare(texts: Sequence[str], arguments: argparse.Namespace) -> None:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    steps = Table("step", "seconds", "MB/s", "documents/s", title="One core")

    def timed(name: str, repeats: int, step: Callable[[], Any]) -> Any:
        best = math.inf
        for _ in range(repeats):
            start = time.process_time()
            result = step()
            best = min(best, time.process_time() - start)
        steps.add_row(name, f"{best:.2f}", f"{megabytes / best:.1f}", f"{len(texts) / best:,.0f}")
        return result

    numbers = np.arange(len(texts), dtype=np.uint64)
    exact = timed("exact keys", arguments.repeats, lambda: [exact_key(text) for text in texts])
    copies = exact_pairs(np.frombuffer(b"".join(exact), dtype="<u8").reshape(-1, 2), numbers)
    numbers = np.setdiff1d(numbers, copies[:, 1])
    minhash = MinHash(arguments.bands, arguments.rows)
    batch = shingle_batch(texts[:1], arguments.shingle)  # builds the folding table
    batch = timed("shingles", arguments.repeats, lambda: shingle_batch(texts, arguments.shingle))
    keys = timed("signatures", arguments.repeats, lambda: minhash.sign(batch, arguments.fewest))[
        numbers.astype(int)
    ]
    rensa(texts, arguments, timed)

    def propose() -> NDArray[np.uint64]:
        bands = [
            candidate_pairs(keys[:, band], numbers, keys[:, (band + 1) % arguments.bands])
            for band in range(arguments.bands)
        ]
        return np.unique(np.concatenate(bands), axis=0)

    candidates = timed("candidates", arguments.repeats, propose)
    cache: dict[int, NDArray[np.uint64]] = {}

    def shingles_of(number: int) -> NDArray[np.uint64]:
        if number not in cache:
            cache[number] = batch.of(number)
        return cache[number]

    verified, _ = timed(
        "verification", 1, lambda: verify(candidates, shingles_of, arguments.similarity)
    )
    characters = np.array([len(text) for text in texts])
    involved = np.unique(verified).astype(int)
    dropped = timed("components", 1, lambda: keep_best(verified, characters[involved]))
    console.print(steps)

    truth = timed("", 1, lambda: exact_similarities(texts, numbers.tolist(), arguments.shingle))
    score(truth, candidates, verified, dropped, characters, arguments)
    console.print(f"{len(copies):,} exact copies were set aside before; they are not counted.")


def score(
    truth: dict[tuple[int, int], float],
    candidates: NDArray[np.uint64],
    verified: NDArray[np.uint64],
    dropped: NDArray[np.uint64],
    characters: NDArray[np.int64],
    arguments: argparse.Namespace,
) -> None:
    proposed = set(map(tuple, candidates.tolist()))
    found = set(map(tuple, verified.tolist()))
    table = Table("similarity", "pairs", "candidates", "verified", "formula", title="Pairs")
    for low, high in itertools.pairwise(EDGES):
        pairs = [pair for pair, value in truth.items() if low <= value < high]
        if not pairs:
            continue
        expected = np.mean(
            [collision_probability(truth[p], arguments.bands, arguments.rows) for p in pairs]
        )
        table.add_row(
            f"{low:.2f} – {min(high, 1):.2f}" if low < 1 else "1",
            f"{len(pairs):,}",
            f"{len(proposed.intersection(pairs)) / len(pairs):.2%}",
            f"{len(found.intersection(pairs)) / len(pairs):.2%}",
            f"{expected:.2%}",
        )
    console.print(table)
    alike = {pair for pair, value in truth.items() if value >= arguments.similarity}
    true_pairs = np.array(sorted(alike), dtype=np.uint64).reshape(-1, 2)
    should = keep_best(true_pairs, characters[np.unique(true_pairs).astype(int)])
    must_go, gone = set(should[:, 0].tolist()), set(dropped[:, 0].tolist())
    with_kept = [
        truth.get((min(pair), max(pair)), 0.0) >= arguments.similarity for pair in dropped.tolist()
    ]
    result = Table("", "recall", "precision", "of", title=f"At ≥ {arguments.similarity}")
    result.add_row(
        "pairs",
        f"{len(alike & found) / len(alike):.2%}",
        f"{len(alike & found) / len(found):.2%}",
        f"{len(alike):,} true, {len(found):,} found of {len(proposed):,} candidates",
    )
    result.add_row(
        "dropped documents",
        f"{len(must_go & gone) / len(must_go):.2%}",
        f"{len(must_go & gone) / len(gone):.2%}",
        f"{len(must_go):,} true, {len(gone):,} dropped",
    )
    result.add_row("alike to the very one kept", "", f"{np.mean(with_kept):.2%}", "")
    console.print(result)


def exact_similarities(
    texts: Sequence[str], numbers: Sequence[int], length: int
) -> dict[tuple[int, int], float]:
    """The Jaccard similarity of every pair of ``numbers`` that reaches :data:`FLOOR`."""
    sets = numbered_shingles([texts[number] for number in numbers], length)
    frequency = np.bincount(np.concatenate(sets))
    rarity = np.empty(len(frequency), dtype=np.int64)
    rarity[np.argsort(frequency, kind="stable")] = np.arange(len(frequency))
    # Two sets whose similarity reaches FLOOR share one of the rarest of each.
    prefixes = []
    for shingles in sets:
        rarest = shingles[np.argsort(rarity[shingles])]
        rarest = rarest[: len(rarest) - math.ceil(FLOOR * len(rarest) - 1e-9) + 1]
        prefixes.append(rarest[frequency[rarest] > 1])
    owners = np.repeat(np.arange(len(sets)), [len(prefix) for prefix in prefixes])
    values = np.concatenate(prefixes)
    order = np.lexsort((owners, values))
    owners, values = owners[order], values[order]
    sizes = np.array([len(shingles) for shingles in sets])
    possible: set[int] = set()
    for group in np.split(owners, np.flatnonzero(values[1:] != values[:-1]) + 1):
        left, right = np.triu_indices(len(group), 1)
        left, right = group[left], group[right]
        near = np.minimum(sizes[left], sizes[right]) >= FLOOR * np.maximum(
            sizes[left], sizes[right]
        )
        possible.update((left[near] * len(sets) + right[near]).tolist())
    truth = {}
    for code in sorted(possible):
        first, second = divmod(code, len(sets))
        shared = len(np.intersect1d(sets[first], sets[second], assume_unique=True))
        value = shared / (sizes[first] + sizes[second] - shared)
        if value >= FLOOR:
            truth[numbers[first], numbers[second]] = float(value)
    return truth


def numbered_shingles(texts: Sequence[str], length: int) -> list[NDArray[np.int64]]:
    """Each text's set of runs of ``length`` characters, equal runs having equal numbers."""
    folded = ["".join(filter(str.isalnum, text.lower())) for text in texts]
    padded = [letters.ljust(length) if letters else "" for letters in folded]
    sizes = np.array([len(letters) for letters in padded])
    codes = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32)
    runs = characters = np.unique(codes, return_inverse=True)[1]
    for further in range(1, length):  # runs one longer: pairs of a run and a character
        following = np.append(characters[further:], np.zeros(further, dtype=np.int64))
        runs = np.unique(runs * (characters.max() + 1) + following, return_inverse=True)[1]
    ends = np.cumsum(sizes)
    return [
        np.unique(runs[end - size : max(end - length + 1, end - size)])
        for end, size in zip(ends, sizes, strict=True)
    ]


def rensa(
    texts: Sequence[str], arguments: argparse.Namespace, timed: Callable[..., object]
) -> None:
    """Signatures by rensa, where it is installed: of the same shingles, given as strings."""
    try:
        from rensa import RMinHash
    except ImportError:
        return

    def sign() -> None:
        length = arguments.shingle
        for text in texts:
            letters = "".join(filter(str.isalnum, text.lower()))
            signer = RMinHash(num_perm=arguments.bands * arguments.rows, seed=0)
            signer.update([letters[i : i + length] for i in range(len(letters) - length + 1)])
            signer.digest()

    timed("rensa: shingles and signatures", 1, sign)


def real(directory: Path, count: int, longest: int) -> list[str]:
    """``count`` documents, as equally from each file as their numbers allow."""
    chooser = MinHash(1, 1, seed=20_211)
    files = []
    for path in sorted(directory.glob("*.jsonl.zst")):
        chosen: list[tuple[int, int, str]] = []
        read = (document.text for document in read_documents([path]))
        for texts in batches(text for text in read if len(text) <= longest):
            keys = chooser.band_keys_batch(texts, 5)[:, 0]
            chosen += [
                (key, len(chosen) + index, text)
                for index, (key, text) in enumerate(zip(keys.tolist(), texts, strict=True))
            ]
            chosen = sorted(chosen)[:count]
        files.append([text for _, _, text in chosen])
    files.sort(key=len)
    sample: list[str] = []
    for index, texts in enumerate(files):
        sample += texts[: (count - len(sample)) // (len(files) - index)]
    return sample


def batches(texts: Iterator[str], size: int = 5_000) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def edited(text: str, rng: random.Random) -> str:
    """A copy with 1 to 30 % of its words replaced, dropped, doubled or joined to the next."""
    words = text.split(" ")
    share = rng.uniform(0.01, 0.3)
    others = list(words)
    for index in range(len(words)):
        if rng.random() >= share:
            continue
        kind = rng.randrange(4)
        if kind == 0:
            words[index] = rng.choice(others)
        elif kind == 1:
            words[index] = ""
        elif kind == 2:
            words[index] = f"{words[index]} {words[index]}"
        elif index + 1 < len(words):
            words[index : index + 2] = [words[index] + words[index + 1], ""]
    return " ".join(word for word in words if word)


SENTENCE = (
    "어제 오늘 지난주 올봄 작년 새벽 저녁 주말 방학 명절 점심때 퇴근길",
    "동생은 어머니는 선생님은 이웃은 친구는 아이들은 할머니는 손님은 사장님은 나는",
    "시장에서 도서관에서 바닷가에서 운동장에서 골목에서 부엌에서 역에서 산에서 병원에서",
    "떡볶이를 소설을 사진을 편지를 수박을 노래를 자전거를 이야기를 우산을 고양이를",
    "천천히 조용히 신나게 겨우 몰래 자주 함께 다시 오래 문득",
    "샀다 읽었다 찍었다 썼다 나누었다 불렀다 탔다 들었다 찾았다 보았다",
)
"""When, who, where, what, how, did."""
STUBS = (
    "{0}역은 {1}도 {2}시에 있는 {3}선의 철도역이다. {4}년에 문을 열었다.",
    "{0}({4}년 ~ )은 {1} 출신의 {2} 축구 선수이다. 포지션은 {3}이다.",
)


def authored(count: int) -> list[str]:
    """Short stories put together by chance, short remarks, and encyclopedia stubs."""
    rng = random.Random(20_211)
    parts = [words.split() for words in SENTENCE]

    def sentence() -> str:
        return " ".join(rng.choice(part) for part in parts if rng.random() < 0.85) + "."

    def name() -> str:
        return "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(rng.randint(2, 3)))

    texts = []
    for index in range(count):
        if index % 4 == 0:
            names = [name() for _ in range(4)]
            texts.append(rng.choice(STUBS).format(*names, rng.randint(1900, 2020)))
        else:
            texts.append(" ".join(sentence() for _ in range(rng.choice((1, 2, 4, 8, 16, 32)))))
    return texts


if __name__ == "__main__":
    main()
