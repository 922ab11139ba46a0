"""The engine on a server: Studio, vLLM, llama.cpp's, or any that speaks OpenAI's wire format.

No torch: a program that only talks to a server needs the extra ``remote`` and nothing more.
"""

from hyperclova.inference.remote.asynchronous import AsyncRemoteEngine
from hyperclova.inference.remote.engine import RemoteEngine, RemoteStream

__all__ = ["AsyncRemoteEngine", "RemoteEngine", "RemoteStream"]
