"""Interpolation with the base: adapters and whole models, on weights and on logits."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from diversify.cli import main
from diversify.trainers.interpolate import interpolate

IDS = torch.tensor([[5, 9, 120, 7, 33]])


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder)


def save_adapter(base, folder, **options):
    """An adapter whose every factor is random: nothing about it is at its neutral beginning."""
    settings = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"]} | options
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", **settings))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, 0.0, 0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(tiny_model_path, tmp_path_factory):
    return save_adapter(tiny_model_path, tmp_path_factory.mktemp("lora") / "adapter")


@pytest.fixture(scope="module")
def tuned(tiny_model_path, tmp_path_factory):
    """A whole model with other weights, in two files."""
    model = load(tiny_model_path)
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            parameter.add_(0.1 * (place % 3), alpha=1.0)
    folder = tmp_path_factory.mktemp("tuned") / "model"
    model.save_pretrained(folder, max_shard_size="100KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


def merged(base, adapter):
    return PeftModel.from_pretrained(load(base), adapter).merge_and_unload()


# --- adapters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 9}, "rank_pattern": {"q_proj": 2}},
        {"target_modules": ["embed_tokens", "q_proj"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("alpha", [0.25, 0.5])
def test_the_weights_lie_between_those_of_base_and_tuned(tiny_model_path, tmp_path, options, alpha):
    folder = save_adapter(tiny_model_path, tmp_path / "adapter", **options)
    if "embed_tokens" in options.get("target_modules", []):
        drop_whole_weights(folder)
    interpolate(folder, tmp_path / "part", alpha=alpha)
    start, end = load(tiny_model_path).state_dict(), merged(tiny_model_path, folder).state_dict()
    found = merged(tiny_model_path, tmp_path / "part").state_dict()
    moved = [name for name in end if name in start and not torch.equal(start[name], end[name])]
    assert moved
    for name in moved:
        expected = (1 - alpha) * start[name] + alpha * end[name]
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6)


def drop_whole_weights(folder):
    """PEFT saves embeddings that carry a LoRA whole, besides; they are the base's."""
    file = folder / "adapter_model.safetensors"
    save_file({n: t for n, t in load_file(file).items() if ".lora_" in n}, file)


def test_the_ends_are_the_base_and_the_tuned_model(tiny_model_path, adapter, tmp_path):
    for alpha, expected in ((0, load(tiny_model_path)), (1, None)):
        output = interpolate(adapter, tmp_path / str(alpha), alpha=alpha)
        found = PeftModel.from_pretrained(load(tiny_model_path), output)
        expected = expected or PeftModel.from_pretrained(load(tiny_model_path), adapter)
        torch.testing.assert_close(logits(found), logits(expected), rtol=0, atol=0)
    assert json.loads((tmp_path / "1/adapter_config.json").read_text())["lora_alpha"] == 6


def test_half_way_gives_other_logits_than_both_ends(tiny_model_path, adapter, tmp_path):
    output = interpolate(adapter, tmp_path / "half", alpha=0.5)
    half = logits(PeftModel.from_pretrained(load(tiny_model_path), output))
    base = logits(load(tiny_model_path))
    end = logits(PeftModel.from_pretrained(load(tiny_model_path), adapter))
    assert (half - base).abs().max() > 1e-2 and (half - end).abs().max() > 1e-2


def test_what_comes_out_is_an_adapter_for_everything_else_here(adapter, tmp_path, tiny_model_path):
    from diversify.models import load_model

    output = interpolate(adapter, tmp_path / "half", alpha=0.3)
    loaded = load_model(tiny_model_path, adapter=output, device="cpu", dtype="float32")
    assert loaded.identity["adapter_hash"]
    config = json.loads((output / "adapter_config.json").read_text())
    assert config["lora_alpha"] == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "lora_only"}, "bias='lora_only'"),
        ({"lora_bias": True}, "lora_bias=True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save="),
        ({"trainable_token_indices": [1]}, "trainable_token_indices="),
        ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
        ({"target_modules": ["embed_tokens"]}, "holds whole weights besides its LoRA"),
    ],
)
def test_adapters_that_are_no_scaled_product_are_refused(
    tiny_model_path, tmp_path, options, message
):
    folder = save_adapter(tiny_model_path, tmp_path / "adapter", **options)
    with pytest.raises(ValueError, match=message):
        interpolate(folder, tmp_path / "out", alpha=0.5)
    assert not (tmp_path / "out").exists()


def test_other_kinds_of_adapters_are_refused(adapter, tmp_path):
    folder = tmp_path / "ia3"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    with pytest.raises(ValueError, match="no LoRA adapter but IA3"):
        interpolate(folder, tmp_path / "out", alpha=0.5)
    with pytest.raises(ValueError, match="leave base out"):
        interpolate(adapter, tmp_path / "out", alpha=0.5, base="anything")


# --- whole models ---------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_whole_models_are_mixed_tensor_by_tensor(tiny_model_path, tuned, tmp_path, alpha):
    output = interpolate(tuned, tmp_path / "part", alpha=alpha, base=tiny_model_path)
    start, end = load(tiny_model_path).state_dict(), load(tuned).state_dict()
    found = load(output)
    for name, tensor in found.state_dict().items():
        expected = (1 - alpha) * start[name] + alpha * end[name]
        exact = {"rtol": 0, "atol": 0 if alpha in (0.0, 1.0) else 1e-6}
        torch.testing.assert_close(tensor, expected, **exact)
    if alpha in (0.0, 1.0):
        expected = load(tiny_model_path if alpha == 0.0 else tuned)
        torch.testing.assert_close(logits(found), logits(expected), rtol=0, atol=0)


def test_the_type_is_that_of_the_tuned_model_and_the_sum_is_made_in_float32(tmp_path):
    """bfloat16 has eight bits: 1 and 1 + 1/128, half way 1 + 1/256, which rounds to even: 1."""
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    for folder, value in ((base, 1.0), (tuned, 1.0 + 2**-7)):
        folder.mkdir()
        kind = torch.float32 if folder == base else torch.bfloat16
        save_file({"w": torch.full((2,), value, dtype=kind)}, folder / "model.safetensors")
    output = interpolate(tuned, tmp_path / "out", alpha=0.5, base=base)
    mixed = load_file(output / "model.safetensors")["w"]
    assert mixed.dtype == torch.bfloat16 and mixed.tolist() == [1.0, 1.0]
    most = interpolate(tuned, tmp_path / "most", alpha=0.75, base=base)
    assert load_file(most / "model.safetensors")["w"].tolist() == [1.0 + 2**-7] * 2


def whole(folder, **tensors):
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"v": torch.ones(2)}, "different tensors, 2 in all, such as v"),
        ({"w": torch.ones(3)}, r"w has the shape \[3\] in .*base, \[2\] in"),
        ({"w": torch.ones(2, dtype=torch.int64)}, None),
    ],
)
def test_models_that_do_not_match_are_refused(tmp_path, other, message):
    base = whole(tmp_path / "base", **other)
    tuned = whole(tmp_path / "tuned", w=torch.ones(2))
    if message is None:  # a count that differs has no middle
        tuned = whole(tmp_path / "counts", w=torch.zeros(2, dtype=torch.int64))
        message = "w is no floating-point tensor and differs"
    with pytest.raises(ValueError, match=message):
        interpolate(tuned, tmp_path / "out", alpha=0.5, base=base)


def test_a_whole_model_needs_its_base(tuned, tmp_path):
    with pytest.raises(ValueError, match="name the base"):
        interpolate(tuned, tmp_path / "out", alpha=0.5)
    with pytest.raises(ValueError, match="holds no model in safetensors"):
        interpolate(tuned, tmp_path / "out", alpha=0.5, base=tmp_path)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_lies_between_nothing_and_all(adapter, tmp_path, alpha):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\]"):
        interpolate(adapter, tmp_path / "out", alpha=alpha)


def test_nothing_is_overwritten_and_nothing_is_made_of_nothing(adapter, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        interpolate(adapter, tmp_path / "full", alpha=0.5)
    with pytest.raises(ValueError, match="neither an adapter nor a model"):
        interpolate(tmp_path / "none", tmp_path / "out", alpha=0.5)


# --- records and the command line -----------------------------------------------------------


def test_results_and_checkpoints_stay_behind_and_the_record_says_what_was_done(
    tiny_model_path, tmp_path
):
    folder = save_adapter(tiny_model_path, tmp_path / "adapter")
    record = {"recipe": "dpo", "method": "divpo", "model": "me/base", "hub_model_id": "me/tuned"}
    (folder / "training.json").write_text(json.dumps(record | {"options": {"pairs": 3}}))
    (folder / "README.md").write_text("it was better")
    (folder / "checkpoint-5").mkdir()
    output = interpolate(folder, tmp_path / "out", alpha=0.5)
    found = json.loads((output / "training.json").read_text())
    assert found["method"] == "divpo, interpolated"
    assert found["options"] == {"pairs": 3, "alpha": 0.5, "tuned": str(folder)}
    assert "hub_model_id" not in found and not (output / "checkpoint-5").exists()
    card = (output / "README.md").read_text()
    assert "it was better" not in card and "Not evaluated yet" in card
    assert "| alpha | `0.5` |" in card


def test_the_command(adapter, tuned, tiny_model_path, tmp_path, capsys):
    output = tmp_path / "half"
    assert main(["interpolate", str(adapter), "--alpha", "0.5", "--output", str(output)]) == 0
    assert str(output) in capsys.readouterr().out
    assert (output / "adapter_model.safetensors").is_file()
    whole_model = ["interpolate", str(tuned), "--alpha", "0.5", "--base", str(tiny_model_path)]
    assert main([*whole_model, "--output", str(tmp_path / "whole")]) == 0
    assert main([*whole_model, "--output", str(output)]) == 1
    assert "is not empty" in capsys.readouterr().err
