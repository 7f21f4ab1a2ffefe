"""Tests of the chain, the engine and the server on a real vLLM; run them with `make test-vllm`."""
