"""An OpenAI-compatible server on loopback that does what a test tells it to, failures included."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What is sent back instead of a plain answer."""

    status: int = 200
    payload: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def refusing(status: int, message: str = "no", retry_after_ms: int = 1) -> Reply:
    payload = json.dumps({"error": {"message": message}}).encode()
    return Reply(status, payload, headers={"Retry-After-Ms": str(retry_after_ms)})


def choices(
    *texts: str | None,
    finish: str | None = "stop",
    usage: tuple[int, int] | None = None,
    logprobs: list[float] | None = None,
    **message: Any,
) -> Reply:
    """Several choices, or one with an odd message or end; tokens and likelihoods if given."""
    found: list[dict[str, Any]] = [
        {"index": i, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
        for i, text in enumerate(texts)
    ]
    for choice in found:
        choice["message"].update(message)
        if logprobs is not None:
            choice["logprobs"] = {"content": [{"token": "x", "logprob": v} for v in logprobs]}
    body: dict[str, Any] = {"object": "chat.completion", "choices": found}
    if usage is not None:
        body["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))
    return Reply(payload=json.dumps(body).encode())


def stream(*pieces: str, finish: str | None = "stop", error: str | None = None) -> Reply:
    """A stream of pieces, which may break off."""
    chunks: list[dict[str, Any]] = [{"delta": {"content": piece}} for piece in pieces]
    if finish is not None:
        chunks.append({"delta": {}, "finish_reason": finish})
    events: list[dict[str, Any]] = [{"choices": [{"index": 0} | chunk]} for chunk in chunks]
    if error is not None:
        events.insert(-1, {"error": {"message": error}})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return Reply(
        payload="".join([*lines, "data: [DONE]\n\n"]).encode(), content_type="text/event-stream"
    )


HANG_UP = Reply(status=0)


class FakeServer:
    """Answer each request with `answer(body)`: a text, or a `Reply`; and remember the requests."""

    def __init__(self, answer: Callable[[dict[str, Any]], str | Reply]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.under_way = self.most_under_way = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.bodies.append(body)
                    outer.keys.append(self.headers["Authorization"])
                    outer.under_way += 1
                    outer.most_under_way = max(outer.most_under_way, outer.under_way)
                assert self.path == "/v1/chat/completions"
                answer = outer.answer(body)
                with lock:
                    outer.under_way -= 1
                reply = choices(answer) if isinstance(answer, str) else answer
                if reply is HANG_UP:
                    return
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.payload)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def asked(self) -> list[str]:
        """The last message of each request, in order of arrival."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    def die(self) -> None:
        """Take no further connection."""
        self._server.socket.close()

    def __enter__(self) -> "FakeServer":
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def fake_servers(
    answer: Callable[[dict[str, Any]], str | Reply],
) -> Iterator[Callable[..., FakeServer]]:
    """Give a function that starts servers, which answer so if told nothing else; end them all."""
    with contextlib.ExitStack() as started:
        yield lambda other=answer: started.enter_context(FakeServer(other))
