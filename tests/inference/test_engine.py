"""The engine as its clients see it."""

import dataclasses
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperclova.errors import UserError
from hyperclova.inference import Engine
from hyperclova.inference.protocol import Completion, Request, Sampling
from hyperclova.model.directory import load_model
from hyperclova.tokenizer import Tokenizer

PROMPTS = ["옛날 옛적에", "오늘 아침에는 비가", "서울의 인구는", "", "뷁😀", "한글은 ㅎㅎ 소리글자"]
ENDLESS = 4096  # continuations; more than any test waits for


def ids_of(completion: Completion, choice: int = 0) -> list[int]:
    return [token.id for token in completion.choices[choice].tokens]


def test_the_model_describes_itself(engine: Engine, tiny_tokenizer: Tokenizer) -> None:
    assert engine.model.name == "tiny"
    assert engine.model.context_length == 128
    assert engine.model.vocabulary_size == tiny_tokenizer.vocabulary_size
    assert engine.model.tokenizer_fingerprint == tiny_tokenizer.fingerprint
    assert engine.model.parameters == sum(
        parameter.numel() for parameter in engine_model(engine).parameters()
    )
    assert abs(engine.model.created - time.time()) < 3600


def engine_model(engine: Engine) -> torch.nn.Module:
    return load_model(engine.directory)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_text_is_that_of_transformers(engine: Engine, prompt: str) -> None:
    transformers = pytest.importorskip("transformers")
    oracle = transformers.GPT2LMHeadModel.from_pretrained(engine.directory).eval()
    ids = engine.tokenizer.encode(prompt) or [engine.tokenizer.end_of_text_id]
    padding = list(range(engine.model.vocabulary_size, oracle.config.vocab_size))
    expected = oracle.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=60,
        do_sample=False,
        suppress_tokens=padding,
        pad_token_id=0,
    )[0, len(ids) :].tolist()
    if expected[-1] == engine.tokenizer.end_of_text_id:
        expected.pop()
    completion = engine.generate(prompt, max_tokens=60, temperature=0, logprobs=0, heal=False)
    assert ids_of(completion) == expected
    assert completion.completion_tokens == len(expected)


def test_a_choice_samples_with_the_next_seed(engine: Engine) -> None:
    three = engine.generate("옛날", max_tokens=20, seed=5, n=3)
    singles = [engine.generate("옛날", max_tokens=20, seed=5 + i).text for i in range(3)]
    assert [choice.text for choice in three.choices] == singles
    assert len(set(singles)) == 3
    measured = [engine.generate("옛날", max_tokens=20, seed=5 + i, logprobs=0) for i in range(3)]
    assert three.prompt_tokens == engine.tokenizer.count("옛날")
    assert three.completion_tokens == sum(len(ids_of(each)) for each in measured)


def test_without_a_seed_each_text_is_new(engine: Engine) -> None:
    texts = {engine.generate("옛날", max_tokens=20).text for _ in range(3)}
    assert len(texts) == 3


def test_more_choices_than_rows_wait_their_turn(tiny_model_directory: Path) -> None:
    with Engine(tiny_model_directory, rows=2) as engine:
        seven = engine.generate("옛날", max_tokens=6, seed=0, n=7)
        others = [engine.generate("옛날", max_tokens=6, seed=i).text for i in range(7)]
    assert [choice.text for choice in seven.choices] == others


# -- scoring ---------------------------------------------------------------------------------------


def log_probabilities(engine: Engine, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        logits = load_model(engine.directory)(torch.tensor([ids]))[0]
    return torch.log_softmax(logits, dim=-1)


def test_echoed_prompts_are_measured_as_the_model_does(engine: Engine) -> None:
    prompt = "옛날 옛적에 깊은 산골 마을에 나무꾼이 살았다. 😀"
    ids, offsets = engine.tokenizer.encode_with_offsets(prompt)
    completion = engine.generate(prompt, max_tokens=0, echo=True, logprobs=4)
    (choice,) = completion.choices
    assert (choice.text, choice.finish_reason) == (prompt, "length")
    assert (completion.prompt_tokens, completion.completion_tokens) == (len(ids), 0)
    assert [token.id for token in choice.tokens] == ids
    assert [token.offset for token in choice.tokens] == [start for start, _ in offsets]
    assert choice.tokens[0].logprob is None
    assert choice.tokens[0].top == ()
    expected = log_probabilities(engine, ids)
    for position, token in enumerate(choice.tokens[1:]):
        row = expected[position]
        assert token.logprob == pytest.approx(row[token.id].item(), abs=1e-4)
        best = row[: engine.model.vocabulary_size].topk(4)
        assert [rival.id for rival in token.top] == best.indices.tolist()
        assert [rival.logprob for rival in token.top] == pytest.approx(
            best.values.tolist(), abs=1e-4
        )


def test_generated_tokens_are_measured_before_penalties(engine: Engine) -> None:
    options = {
        "max_tokens": 12,
        "temperature": 1.7,
        "top_k": 50,
        "repetition_penalty": 1.5,
        "presence_penalty": 1.0,
        "logit_bias": {100: 5.0},
        "seed": 3,
        "logprobs": 2,
        "heal": False,
    }
    completion = engine.generate("옛날", **options)
    prompt = engine.tokenizer.encode("옛날")
    expected = log_probabilities(engine, prompt + ids_of(completion))
    for place, token in enumerate(completion.choices[0].tokens):
        row = expected[len(prompt) - 1 + place]
        assert token.logprob == pytest.approx(row[token.id].item(), abs=1e-4)


def test_echo_and_continuation_read_as_one_text(engine: Engine) -> None:
    # An echoed prompt is never healed.
    plain = engine.generate("서울의", max_tokens=15, seed=9, logprobs=1, heal=False)
    echoed = engine.generate("서울의", max_tokens=15, seed=9, logprobs=1, echo=True)
    assert echoed.text == "서울의" + plain.text
    count = len(engine.tokenizer.encode("서울의"))
    assert [token.id for token in echoed.choices[0].tokens[count:]] == ids_of(plain)
    shifted = [token.offset + 3 for token in plain.choices[0].tokens]
    assert [token.offset for token in echoed.choices[0].tokens[count:]] == shifted


# -- ends ------------------------------------------------------------------------------------------


def test_the_end_of_text_ends_it(engine: Engine) -> None:
    end = engine.tokenizer.end_of_text_id
    completion = engine.generate("옛날", max_tokens=9, logit_bias={end: 100.0}, logprobs=1)
    assert completion.text == ""
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].tokens == ()
    assert completion.completion_tokens == 0


def test_stop_strings_are_cut_off(engine: Engine) -> None:
    free = engine.generate("옛날", max_tokens=30, seed=1)
    stop = free.text[10:13]
    expected = free.text[: free.text.index(stop)]
    stopped = engine.generate("옛날", max_tokens=30, seed=1, stop=stop, logprobs=0)
    assert stopped.text == expected
    assert stopped.choices[0].finish_reason == "stop"
    assert all(token.offset < len(expected) for token in stopped.choices[0].tokens)
    chunks = list(engine.stream("옛날", max_tokens=30, seed=1, stop=(stop,)))
    assert "".join(chunk.text for chunk in chunks) == expected
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]


def test_the_context_ends_a_text(engine: Engine) -> None:
    prompt = tuple(engine.tokenizer.encode("옛날 옛적에 ") * 20)[:120]
    request = Request(prompt, max_tokens=50, sampling=Sampling(seed=0), logprobs=0)
    (completion,) = engine.generate([request])
    assert completion.completion_tokens == 8
    assert completion.choices[0].finish_reason == "length"
    whole = dataclasses.replace(request, prompt=(*prompt, *([5] * 8)), max_tokens=0, echo=True)
    (scored,) = engine.generate([whole])
    assert scored.prompt_tokens == 128


def test_nothing_asked_nothing_written(engine: Engine) -> None:
    completion = engine.generate("옛날", max_tokens=0)
    assert (completion.text, completion.choices[0].finish_reason) == ("", "length")
    completion = engine.generate("", max_tokens=0, echo=True, logprobs=2)
    assert (completion.text, completion.prompt_tokens) == ("", 0)


def test_padding_ids_are_never_written(engine: Engine) -> None:
    """The model has 16 more ids than the tokenizer; at this temperature all are equally likely."""
    for seed in range(3):
        engine.generate("옛날", max_tokens=100, temperature=1e6, seed=seed, logprobs=20)


def test_the_largest_values_are_fine(engine: Engine) -> None:
    completion = engine.generate(
        "옛날",
        max_tokens=2,
        n=4096,
        logprobs=0,
        stop=["가" * 1024] * 64,
        deadline=0.2,
    )
    assert len(completion.choices) == 4096
    (choice,) = engine.generate("옛날", max_tokens=2, logprobs=480, seed=1).choices
    assert {len(token.top) for token in choice.tokens} == {480}
    completion = engine.generate("옛날", max_tokens=0, n=4096, echo=True)
    assert {choice.text for choice in completion.choices} == {"옛날"}


# -- streams ---------------------------------------------------------------------------------------


def test_chunks_join_to_the_completion(engine: Engine) -> None:
    options = {"max_tokens": 40, "seed": 2, "n": 2, "logprobs": 1, "stop": ("뷁",)}
    completion = engine.generate("오늘", **options)
    texts, tokens = ["", ""], [[], []]
    written = [0, 0]
    for chunk in engine.stream("오늘", **options):
        texts[chunk.choice] += chunk.text
        tokens[chunk.choice] += chunk.tokens
        assert chunk.completion_tokens >= written[chunk.choice]
        written[chunk.choice] = chunk.completion_tokens
    assert texts == [choice.text for choice in completion.choices]
    assert [tuple(each) for each in tokens] == [choice.tokens for choice in completion.choices]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.005)


@pytest.mark.parametrize("way", ["close", "with", "drop"])
def test_leaving_a_stream_frees_its_rows(tiny_model_directory: Path, way: str) -> None:
    with Engine(tiny_model_directory, rows=2) as engine:
        stream = engine.stream("옛날", max_tokens=100, n=ENDLESS)
        next(stream)
        assert engine.statistics().running
        if way == "close":
            stream.close()
            assert list(stream) == []
        elif way == "with":
            with stream:
                pass
        else:
            del stream
        wait_until(lambda: engine.statistics().running == 0)
        assert engine.generate("오늘", max_tokens=3, seed=1).completion_tokens == 3


def test_requests_join_while_others_are_written(tiny_model_directory: Path) -> None:
    with Engine(tiny_model_directory, rows=4) as engine:
        with engine.stream("옛날", max_tokens=120, n=1) as long:
            next(long)
            short = engine.generate(
                "오늘", max_tokens=2, logit_bias={engine.tokenizer.end_of_text_id: -100.0}
            )
        assert short.completion_tokens == 2


def test_threads_share_the_engine(engine: Engine) -> None:
    expected = [engine.generate(prompt, max_tokens=12, seed=1).text for prompt in PROMPTS]
    found: dict[int, str] = {}

    def ask(place: int) -> None:
        found[place] = engine.generate(PROMPTS[place], max_tokens=12, seed=1).text

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(PROMPTS))]
    random.Random(0).shuffle(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(len(PROMPTS))] == expected


def test_closing_ends_what_runs(tiny_model_directory: Path) -> None:
    engine = Engine(tiny_model_directory)
    stream = engine.stream("옛날", max_tokens=100, n=ENDLESS)
    next(stream)
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        for _ in stream:
            pass
    with pytest.raises(RuntimeError, match="closed"):
        engine.generate("옛날")


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"n": 0}, "n is 0; it must be from 1 to 4096"),
        ({"n": 4097}, "n is 4097"),
        ({"n": 10**12}, "n is 1000000000000"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
        ({"repetition_penalty": 1e31}, r"repetition_penalty is 1e\+31.*at most 1e\+30"),
        ({"frequency_penalty": float("inf")}, "frequency_penalty is inf"),
        ({"frequency_penalty": float("nan")}, "frequency_penalty is nan"),
        ({"presence_penalty": -1e31}, "presence_penalty is -1e"),
        ({"logit_bias": {480: 1.0}}, "logit_bias names token id 480"),
        ({"logit_bias": {1: float("nan")}}, "logit_bias of token 1 is nan"),
        ({"logit_bias": {1: float("-inf")}}, "logit_bias of token 1 is -inf"),
        ({"logprobs": -1}, "logprobs is -1"),
        ({"logprobs": 481}, "logprobs is 481; it must be from 0 to 480"),
        ({"stop": ("가", "")}, "stop holds an empty string"),
        ({"stop": ("가",) * 65}, "stop holds 65 strings; at most 64"),
        ({"stop": ("가", "나" * 1025)}, "stop holds a string of 1025 characters"),
    ],
)
def test_values_out_of_range_are_named(
    engine: Engine, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        engine.generate("옛날", **options)


def test_a_long_prompt_is_refused_with_its_length(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"prompt has 200 tokens.*holds 128: at most 127 fit"):
        engine.generate([Request((5,) * 200)])
    with pytest.raises(UserError, match="prompt has 128 tokens"):
        engine.generate([Request((5,) * 128, max_tokens=1)])
    with pytest.raises(UserError, match=r"prompt has 129 tokens.*at most 128 fit"):
        engine.generate([Request((5,) * 129, max_tokens=0)])
    with pytest.raises(UserError, match="prompt has"):
        engine.score("가" * 300, "나")


def test_ids_may_be_those_of_numpy(engine: Engine) -> None:
    ids = engine.tokenizer.encode("옛날 옛적에")
    expected, found = engine.generate(
        [
            Request(tuple(each), 9, Sampling(seed=1), logprobs=0, echo=True)
            for each in (ids, np.array(ids))
        ]
    )
    assert found == expected


def test_unknown_ids_and_broken_text_are_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="token id 480"):
        engine.generate([Request((5, 480))])
    with pytest.raises(UserError, match="token id 480"):
        engine.generate([Request(tuple(np.array([5, 480])))])
    with pytest.raises(UserError, match="surrogate"):
        engine.generate("옛날\ud800")
    with pytest.raises(TypeError):
        engine.generate("옛날", temprature=1.0)


def test_directories_without_a_model_are_refused(
    tmp_path: Path, tiny_model_directory: Path, tiny_tokenizer: Tokenizer
) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        Engine(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_model_directory / name).read_bytes())
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Engine(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    tiny_tokenizer.save(tmp_path)
    with pytest.raises(UserError, match=r"model\.safetensors"):
        Engine(tmp_path)
