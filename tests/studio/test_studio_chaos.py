"""Clients of Studio at once, many of which hang up, and ``kill -9`` for its engine.

Each gets what it gets alone, or an error in OpenAI's form, be it an answer or the last event of a
stream; and Studio goes on. 40 requests by default; the long form, which also says how they ended,
is

    HYPERCLOVA_CHAOS=500 pytest --log-cli-level=INFO tests/studio/test_studio_chaos.py
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import psutil
import pytest

import chaos
from chaos import Choices, Client, Crowd, Embedding, Ledger
from hyperclova.inference.protocol import Request
from hyperclova.studio.settings import Settings
from hyperclova.tokenizer import Tokenizer
from studio_process import Server, wait_for

logger = logging.getLogger(__name__)

KILLS = max(1, chaos.REQUESTS // 100)
BURST = 2 * Settings.request_limit
GROWTH = 16 << 20
"""Bytes by which a storm may make the web process larger."""
# What OpenAI's client has no parameter for.
OURS = ("top_k", "repetition_penalty")


@pytest.fixture(scope="module")
def server(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = chaos.save_roomy_model(tiny_tokenizer, tmp_path_factory.mktemp("models") / "roomy")
    server = Server(model, tmp_path_factory.mktemp("home"))
    try:
        yield server.wait_until_ready()
    finally:
        server.stop()


# -- requests and answers --------------------------------------------------------------------------


def body_of(client: Client) -> dict[str, Any]:
    """What a client asks for, as a request for completions."""
    match client.question:
        case Request() as request:
            sampling = request.sampling
            body = {
                "prompt": request.prompt,
                "max_tokens": request.max_tokens,
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "top_p": sampling.top_p,
                "repetition_penalty": sampling.repetition_penalty,
                "frequency_penalty": sampling.frequency_penalty,
                "presence_penalty": sampling.presence_penalty,
                "logit_bias": {str(token): bias for token, bias in sampling.logit_bias.items()},
                "seed": sampling.seed,
                "stop": request.stop or None,
                "n": request.n,
                "logprobs": request.logprobs,
                "echo": request.echo,
                "user": request.client or None,
                "stream": client.number % 4 > 0,
            }
            if body["stream"]:
                body["stream_options"] = {"include_usage": True}
        case Choices(prompt, continuations) if isinstance(prompt, str):
            body = {
                "prompt": [prompt + continuation for continuation in continuations],
                "max_tokens": 0,
                "echo": True,
                "logprobs": 1,
            }
        case Embedding(prompts, _) if all(isinstance(prompt, str) for prompt in prompts):
            body = {"prompt": prompts, "max_tokens": 5, "n": 2, "seed": 1, "stream": True}
        case _:
            body = {"prompt": "어느 날", "max_tokens": 9, "best_of": 4, "n": 2, "seed": 2}
    return {"model": "roomy", **{name: value for name, value in body.items() if value is not None}}


@dataclass
class Reply:
    """What came back, in whatever way it came."""

    status: int
    choices: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Each with its pieces put together."""
    usage: dict[str, int] | None = None
    error: dict[str, Any] | None = None

    def add(self, answer: Mapping[str, Any]) -> None:
        """Put in an answer, or a piece of one."""
        self.usage = answer.get("usage") or self.usage
        for piece in answer["choices"]:
            choice = self.choices.setdefault(
                piece["index"], {"text": "", "logprobs": {}, "finish_reason": None}
            )
            assert choice["finish_reason"] is None, "nothing follows a choice's end"
            choice["text"] += piece["text"]
            choice["finish_reason"] = piece["finish_reason"]
            for name, values in (piece["logprobs"] or {}).items():
                choice["logprobs"].setdefault(name, []).extend(values)

    def fail(self, error: Any) -> None:
        assert set(error) == {"message", "type", "param", "code"}, error
        assert error["message"] and "\n" not in error["message"], error
        self.error = dict(error)


def assert_begins(reply: Reply, whole: Reply) -> None:
    for index, choice in reply.choices.items():
        expected = whole.choices[index]
        assert expected["text"].startswith(choice["text"])
        for name, values in choice["logprobs"].items():
            assert len(values) <= len(expected["logprobs"][name])
            for one, other in zip(values, expected["logprobs"][name], strict=False):
                # Of rivals that are almost as likely either may be named.
                left = sorted(one.values()) if isinstance(one, dict) else one
                right = sorted(other.values()) if isinstance(other, dict) else other
                assert left == pytest.approx(right, abs=1e-3)


def assert_same(reply: Reply, whole: Reply) -> None:
    assert_begins(reply, whole)
    assert (reply.status, reply.usage) == (whole.status, whole.usage)
    ends = [
        {index: (choice["text"], choice["finish_reason"]) for index, choice in each.choices.items()}
        for each in (reply, whole)
    ]
    assert ends[0] == ends[1]


# -- clients ---------------------------------------------------------------------------------------


@dataclass
class Visitors:
    """Clients of a running Studio, and a ledger of how it ended for each.

    Args:
        alone: the right answers; empty while they are being asked for.
    """

    http: httpx.AsyncClient
    official: openai.AsyncOpenAI
    alone: dict[int, Reply] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    async def ask(self, client: Client) -> Reply:
        """What a client gets that waits for the end."""
        reply = Reply(0)
        assert not await self._ask(client, reply)
        return reply

    async def serve(self, client: Client) -> None:
        """One client from its coming to its end; it comes again if the engine died."""
        async with asyncio.timeout(chaos.PATIENCE):
            while (end := await self._try(client)) in ("died", "not ready"):
                self.ledger.note(end)
                await asyncio.sleep(1)  # as the header retry-after says
        self.ledger.note(end)

    async def _try(self, client: Client) -> str:
        if client.seconds == 0:
            await self._hang_up_while_asking(client)
            return "torn off"
        reply = Reply(0)
        asking = asyncio.create_task(self._ask(client, reply))
        await asyncio.wait({asking}, timeout=client.seconds)
        if not asking.done():
            asking.cancel()
        whole = self.alone[client.number]
        try:
            left = await asking
        except asyncio.CancelledError:
            assert asking.cancelled() and client.seconds is not None
            assert_begins(reply, whole)
            return "cancelled"
        if left:
            assert_begins(reply, whole)
            return "closed"
        if reply.error is None:
            assert_same(reply, whole)
            return "complete"
        if reply.error == whole.error:
            assert (reply.status, client.valid) == (400, False)
            return "refused"
        assert_begins(reply, whole)
        return {
            (200, "engine_died"): "died",
            (500, "engine_died"): "died",
            (503, "engine_restarting"): "not ready",
            (429, "rate_limit_exceeded"): "busy",
        }[reply.status, reply.error["code"]]

    async def _ask(self, client: Client, reply: Reply) -> bool:
        """Fill the reply; whether the client left before its end."""
        official = client.valid and client.number % 2 == 0
        pieces = (self._officially if official else self._plainly)(client, reply)
        count = 0
        async with aclosing(pieces):
            async for piece in pieces:
                reply.add(piece)
                count += 1
                if count == client.pieces:
                    return True
        return False

    async def _plainly(self, client: Client, reply: Reply) -> AsyncIterator[dict[str, Any]]:
        """By a client that knows HTTP and nothing more."""
        # Escaped, so that what is no character can be sent, too.
        content = json.dumps(body_of(client)).encode()
        headers = {"content-type": "application/json"}
        async with self.http.stream(
            "POST", "/v1/completions", content=content, headers=headers
        ) as response:
            reply.status = response.status_code
            if not response.headers["content-type"].startswith("text/event-stream"):
                answer = json.loads(await response.aread())
                if response.status_code == 200:
                    yield answer
                else:
                    reply.fail(answer["error"])
                    assert ("retry-after" in response.headers) == (reply.status in (429, 503))
                return
            last = ""
            async for line in response.aiter_lines():
                if not line:
                    continue
                assert last != "[DONE]" and reply.error is None, "nothing follows the end"
                last = line.removeprefix("data: ")
                if last == "[DONE]":
                    continue
                event = json.loads(last)
                if "error" in event:
                    reply.fail(event["error"])
                else:
                    yield event
            assert (last == "[DONE]") == (reply.error is None), "a stream without an end"

    async def _officially(self, client: Client, reply: Reply) -> AsyncIterator[dict[str, Any]]:
        """By OpenAI's client."""
        body = body_of(client)
        extra = {name: body.pop(name) for name in OURS if name in body}
        try:
            answer = await self.official.completions.create(**body, extra_body=extra)
            reply.status = 200
            if not body.get("stream"):
                yield answer.model_dump()
                return
            async with answer:
                async for chunk in answer:
                    yield chunk.model_dump()
        except openai.APIError as error:
            if isinstance(error, openai.APIStatusError):
                reply.status = error.status_code
            assert error.body is not None, repr(error)
            reply.fail(error.body)

    async def _hang_up_while_asking(self, client: Client) -> None:
        """Leave in the middle of the request's own body."""
        content = json.dumps(body_of(client)).encode()
        url = self.http.base_url
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        writer.write(b"content-type: application/json\r\n")
        writer.write(b"content-length: %d\r\n\r\n" % len(content) + content[: len(content) // 2])
        await writer.drain()
        writer.close()


@asynccontextmanager
async def visitors(server: Server) -> AsyncIterator[Visitors]:
    # Connections are not kept until Studio closes them, which may be in the moment of their use.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2)
    async with (
        httpx.AsyncClient(base_url=server.address, timeout=chaos.PATIENCE, limits=limits) as http,
        openai.AsyncOpenAI(
            base_url=f"{server.address}/v1", api_key="unused", max_retries=0, http_client=http
        ) as official,
    ):
        yield Visitors(http, official)


def test_studio_answers_whatever_its_clients_and_its_engine_do(
    server: Server, tiny_tokenizer: Tokenizer, korean_lines: list[str]
) -> None:
    crowd = Crowd(chaos.SEED, tiny_tokenizer, korean_lines, width=None)
    clients = crowd.clients(chaos.REQUESTS)
    web = psutil.Process(server.process.pid)

    async def is_ready() -> bool:
        return server.status()["state"] == "ready"

    def engine() -> int | None:
        return next((child.pid for child in web.children()), None)

    async def scenario() -> None:
        async with visitors(server) as guests:
            guests.alone = {client.number: await guests.ask(client.patient) for client in clients}
            held = chaos.memory(web)
            async with asyncio.TaskGroup() as group:
                group.create_task(chaos.send(crowd.bursts(clients, BURST), guests.serve, 12))
                group.create_task(
                    chaos.kill_now_and_then(guests.ledger, len(clients), KILLS, engine, is_ready)
                )
            logger.info("killed %d times: %s", KILLS, guests.ledger)
            assert guests.ledger.served == len(clients)
            await asyncio.to_thread(server.wait_until_ready)
            await every_place_is_free(guests)
        logger.info("%d MiB, then %d MiB", held >> 20, chaos.memory(web) >> 20)
        assert chaos.memory(web) - held < GROWTH

    async def every_place_is_free(guests: Visitors) -> None:
        """Studio takes as many requests at once as ever, if perhaps a moment after others left."""
        patient = [client.patient for client in clients if client.valid][: Settings.request_limit]
        async with asyncio.timeout(chaos.PATIENCE):
            while True:
                replies = await asyncio.gather(*map(guests.ask, patient))
                if not any(reply.status == 429 for reply in replies):
                    break
        for client, reply in zip(patient, replies, strict=True):
            assert reply.error is None, reply.error
            assert_same(reply, guests.alone[client.number])

    files = web.num_fds()
    asyncio.run(scenario())
    assert server.process.poll() is None
    wait_for(lambda: web.num_fds() <= files, "connections of those who left to be closed")
    assert "Traceback" not in server.log.read_text()
