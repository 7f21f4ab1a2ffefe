"""The measurement of GEM's memory: it measures what trains, and GEM stays near the stock loss."""

import json
import sys

import pytest
from importing import imported
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def script():
    with imported("eval/gem_memory.py") as module:
        yield module


def test_one_step_of_each_loss(script, tiny_model_path, capsys):
    """Dense and in chunks GEM is one number; the table sets all beside the first."""
    where = ["--model", str(tiny_model_path), "--batch", "2", "--length", "16", "--only"]
    found = {}
    for loss in ("stock", "gem-linear", "gem-dense"):
        script.main([*where, loss])
        found[loss] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["gem-linear"]["loss"] == pytest.approx(found["gem-dense"]["loss"], abs=1e-4)
    assert found["gem-linear"]["loss"] != pytest.approx(found["stock"]["loss"], abs=1e-2)
    assert all(row["total_bytes"] > 0 and row["seconds"] > 0 for row in found.values())
    sizes = {name: row | {"step_bytes": 2**20} for name, row in found.items()}  # 0 on this model
    header, stock, *others = script.table(sizes).splitlines()
    assert "ratio" in header and stock.count("1.00") >= 3 and len(others) == 2


@pytest.mark.slow
def test_the_peak_of_gem_stays_near_that_of_the_stock_loss(
    script, tiny_tokenizer_path, tmp_path, capsys
):
    """A model that is nearly all vocabulary, so that the logits are what takes the memory."""
    folder = tmp_path / "wide"
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 1, "num_key_value_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=65536, **sizes, **heads)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_tokenizer_path).save_pretrained(folder)
    script.main(["--model", str(folder), "--batch", "2", "--length", "1024"])
    losses = json.loads(capsys.readouterr().out.splitlines()[-1])["losses"]
    peaks = {name: row["step_bytes"] for name, row in losses.items()}
    for name in ("gem-linear", "gem-logsigmoid"):
        assert peaks[name] < 1.1 * peaks["stock"], peaks
        assert peaks[name] < 0.7 * peaks["gem-dense"], peaks
