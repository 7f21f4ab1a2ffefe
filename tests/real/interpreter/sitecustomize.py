"""Lets vLLM's second model runner start on a CPU: Triton's interpreter stands in for its backend.

The wheels of Triton have no CPU backend, and vLLM asks for one by name before it uses Triton at all.
Python imports this file by itself where its folder is on PYTHONPATH, in vLLM's own processes, too.
"""

import os
from types import SimpleNamespace

if os.environ.get("TRITON_INTERPRET") == "1":
    from triton.backends import backends

    backends["cpu"] = SimpleNamespace(driver=SimpleNamespace(is_active=lambda: True))
