"""Chats to answers on an OpenAI-compatible server: vLLM, SGLang, llama.cpp, OpenAI and others.

Importing this package, and making a `ChatServer`, loads no client and opens no connection.
"""

from diversify.server.chat import Chat, ChatModel, ChatServer
from diversify.server.responses import Answer, Failure, NoAnswer, Response, ServerRefusal

__all__ = [
    "Answer",
    "Chat",
    "ChatModel",
    "ChatServer",
    "Failure",
    "NoAnswer",
    "Response",
    "ServerRefusal",
]
