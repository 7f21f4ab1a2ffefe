"""A small OpenAI-compatible server before any engine, whose `n` answers differ.

app = build_app(engine, default="over-generate", token_env="MY_TOKEN")
serve(app, host="127.0.0.1", port=8000)
"""

try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError('serving needs `pip install "diversify-llm[serve]"`') from error

from diversify.serving.app import build_app
from diversify.serving.metered import Limits
from diversify.serving.running import serve

__all__ = ["Limits", "build_app", "serve"]
