"""GEM in TRL's trainer: the dense formula under masks, chunks, accumulation and several processes."""

import os
import subprocess
import sys
from pathlib import Path

import gem_runs
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
)
from trl import SFTTrainer

from diversify.losses import gem_loss
from diversify.models import inner_model
from diversify.trainers import gem
from diversify.trainers.gem import GEMTrainer, check_loss, logit_transform

HERE = Path(__file__).parent
LINKS = ["linear", "logsigmoid"]


@pytest.fixture(autouse=True)
def no_cache_at_home(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def first_batch(trainer):
    return next(iter(trainer.get_train_dataloader()))


def loss_and_gradients(model, loss):
    model.zero_grad()
    loss.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.item(), grads


def assert_equals_the_dense_formula(trainer, **options):
    """One batch through TRL's loss, and through the logits of the whole model."""
    batch = first_batch(trainer)
    labels = batch["labels"]
    model = trainer.model.train()
    found = loss_and_gradients(model, trainer.compute_loss(model, dict(batch)))
    plain = {name: value for name, value in batch.items() if name != "labels"}
    logits = model(**plain, use_cache=False).logits
    dense = gem_loss(logits[:, :-1], labels[:, 1:], **options)
    expected = loss_and_gradients(model, dense)
    assert found[0] == pytest.approx(expected[0], abs=1e-5)
    assert found[1].keys() == expected[1].keys() != set()
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-6)
    return labels


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("tile", [(1, 1), (3, 100), (10_000, 10_000)], ids=str)
def test_one_batch_equals_the_dense_formula(tiny_model_path, tmp_path, link, tile):
    trainer = gem_runs.build(tiny_model_path, tmp_path, link=link, tile=tile)
    labels = assert_equals_the_dense_formula(trainer, link=link)
    assert (labels == -100).any()  # the prompts


def test_every_token_may_carry_the_loss(tiny_model_path, tmp_path):
    rows = {"completion_only_loss": False}
    trainer = gem_runs.build(tiny_model_path, tmp_path, config_of=rows, beta=0.4)
    labels = assert_equals_the_dense_formula(trainer, beta=0.4)
    assert (labels != -100).float().mean() > 0.4


@pytest.mark.parametrize(
    "how", [{"packing_strategy": "wrapped"}, {"packing_strategy": "bfd"}], ids=str
)
def test_packed_rows_equal_the_dense_formula(tiny_model_path, tmp_path, how):
    rows = {"packing": True, "max_length": 48, "per_device_train_batch_size": 2, **how}
    assert_equals_the_dense_formula(gem_runs.build(tiny_model_path, tmp_path, config_of=rows))


def test_lora_trains_by_the_dense_formula(tiny_model_path, tmp_path):
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = gem_runs.build(tiny_model_path, tmp_path, peft_config=lora)
    with torch.no_grad():  # born as zeros, they would hide the gradients of the other half
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    assert_equals_the_dense_formula(trainer)


def test_gradient_checkpointing_changes_nothing(tiny_model_path, tmp_path):
    rows = {"gradient_checkpointing": True}
    trainer = gem_runs.build(tiny_model_path, tmp_path, config_of=rows)
    trainer.model.gradient_checkpointing_enable()
    assert_equals_the_dense_formula(trainer)


def test_in_bfloat16_it_trains_to_the_same_model_but_for_rounding(tiny_model_path, tmp_path):
    """Under autocast, as TRL trains where it can; the logged loss and metrics stay close."""
    steps = {"max_steps": 3, "optim": "adamw_torch", "learning_rate": 1e-3}
    exact, logs = trained(tiny_model_path, tmp_path, config_of=steps)
    half, half_logs = trained(tiny_model_path, tmp_path, config_of=steps | {"bf16": True})
    assert all(weights.dtype == torch.float32 for weights in half.values())
    for name in ("loss", "entropy"):
        expected = [log[name] for log in logs]
        assert [log[name] for log in half_logs] == pytest.approx(expected, abs=0.05)
        assert [log[name] for log in half_logs] != expected
    # AdamW moves every weight by about the learning rate a step, whichever way: 3 steps, 2 ways.
    assert max((half[name] - exact[name]).abs().max() for name in exact) < 6.5e-3
    moved = torch.cat([(half[name] - exact[name]).flatten().abs() for name in exact])
    assert moved.mean() < 5e-4


SMALL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
}
TRANSFORMS = {
    "gemma2": (Gemma2Config, Gemma2ForCausalLM, {"final_logit_softcapping": 3.0, "head_dim": 8}),
    "cohere2": (Cohere2Config, Cohere2ForCausalLM, {"logit_scale": 0.25}),
    "granite": (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 4.0}),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_models_that_scale_or_cap_their_logits(name, tiny_tokenizer_path, tmp_path):
    """With a tied head, too: all three have one."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
    kind, model_kind, more = TRANSFORMS[name]
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    settings = kind(vocab_size=len(tokenizer), **SMALL, **ids, **more)
    assert logit_transform(settings) != (1.0, None)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model_kind(settings).save_pretrained(tmp_path / name)
    tokenizer.save_pretrained(tmp_path / name)
    trainer = gem_runs.build(tmp_path / name, tmp_path, link="logsigmoid")
    assert_equals_the_dense_formula(trainer, link="logsigmoid")


def test_falcon_and_hyperclova_by_their_config_names():
    from transformers import FalconH1Config, LlamaConfig

    assert logit_transform(FalconH1Config(lm_head_multiplier=0.5)) == (0.5, None)
    settings = LlamaConfig()
    assert logit_transform(settings) == (1.0, None)
    settings.logits_scaling = 4.0
    assert logit_transform(settings) == (0.25, None)
    settings.model_type = "hyperclovax"
    assert logit_transform(settings) == (4.0, None)


# --- training -------------------------------------------------------------------------------


def trained(model, output, **options):
    trainer = gem_runs.build(model, output, **options)
    trainer.train()
    weights = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    return weights, [log for log in trainer.state.log_history if "loss" in log]


def test_at_beta_one_it_trains_the_stock_trainers_model(tiny_model_path, tmp_path):
    """Three steps of AdamW, to the rounding of float32; at beta .7 the model is another one."""
    steps = {"max_steps": 3, "optim": "adamw_torch", "learning_rate": 1e-3}
    stock, stock_logs = trained(tiny_model_path, tmp_path, kind=SFTTrainer, config_of=steps)
    found, logs = trained(tiny_model_path, tmp_path, config_of=steps, beta=1.0)
    torch.testing.assert_close(found, stock, rtol=0, atol=5e-6)
    for name in ("entropy", "mean_token_accuracy", "num_tokens", "grad_norm"):
        expected = [log[name] for log in stock_logs]
        assert [log[name] for log in logs] == pytest.approx(expected, rel=1e-4)
    assert [log["loss"] for log in logs] != pytest.approx([log["loss"] for log in stock_logs])
    other, _ = trained(tiny_model_path, tmp_path, config_of=steps)
    assert max((other[name] - stock[name]).abs().max() for name in stock) > 1e-4


@pytest.mark.parametrize("link", LINKS)
def test_accumulation_does_not_matter(tiny_model_path, tmp_path, link):
    """Four rows in one, two and four parts: the same mean over the same tokens."""
    whole = None
    for rows, parts in ((4, 1), (2, 2), (1, 4)):
        sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": parts}
        weights, logs = trained(tiny_model_path, tmp_path, config_of=sizes, link=link)
        whole = whole or (weights, logs[0]["loss"])
        torch.testing.assert_close(weights, whole[0], rtol=0, atol=1e-6)
        assert logs[0]["loss"] == pytest.approx(whole[1], abs=1e-5)


def test_evaluation_stays_the_likelihood(tiny_model_path, tmp_path):
    """And training mode comes back: the losses after an evaluation are GEM's again."""
    rows = gem_runs.chats()
    stock = gem_runs.build(tiny_model_path, tmp_path, kind=SFTTrainer).evaluate(rows)
    trainer = gem_runs.build(tiny_model_path, tmp_path)
    found = trainer.evaluate(rows)
    assert found["eval_loss"] == pytest.approx(stock["eval_loss"], rel=1e-6)
    assert_equals_the_dense_formula(trainer)


def launch(processes, *arguments):
    """Run the small training on some CPU processes."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0"]
    command += ["--multi_gpu"] if processes > 1 else []
    command += ["--num_processes", str(processes), str(HERE / "gem_runs.py")]
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": path}
    done = subprocess.run(
        [*command, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    output = Path(arguments[1])
    world, *losses = map(float, (output / "losses.txt").read_text().split())
    assert world == processes
    return load_file(output / "model.safetensors"), losses


@pytest.mark.parametrize("link", ["linear", pytest.param("logsigmoid", marks=pytest.mark.slow)])
def test_two_processes_equal_one_with_the_same_batch(tiny_model_path, tmp_path, link):
    """Two processes of 1 row x 2 parts against one of 4 rows, two steps of plain descent."""
    two = launch(2, tiny_model_path, tmp_path / "two", 1, 2, 2, link)
    sizes = {"per_device_train_batch_size": 4, "max_steps": 2}
    weights, logs = trained(tiny_model_path, tmp_path / "one", config_of=sizes, link=link)
    torch.testing.assert_close(two[0], weights, rtol=0, atol=2e-6)
    assert two[1] == pytest.approx([log["loss"] for log in logs], abs=2e-5)
    start = load_file(tiny_model_path / "model.safetensors")
    assert max((weights[name] - start[name]).abs().max() for name in start) > 1e-3


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ({"loss_type": "dft"}, {}, "needs loss_type='nll', got 'dft'"),
        ({"label_smoothing_factor": 0.1}, {}, "needs label_smoothing_factor=0.0, got 0.1"),
        ({"use_liger_kernel": True}, {}, "needs use_liger_kernel=False, got True"),
        ({}, {"beta": -1.0}, "beta must be"),
        ({}, {"link": "cubic"}, "link must be"),
    ],
)
def test_contradictions_are_refused_before_anything_is_loaded(rows, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        gem_runs.build("no/such-model", tmp_path, config_of=rows, **options)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_second_loss_is_refused(tiny_model_path, tmp_path):
    with pytest.raises(ValueError, match="compute_loss_func"):
        gem_runs.build(tiny_model_path, tmp_path, compute_loss_func=lambda *_, **__: None)


def test_a_trl_without_the_seam_is_refused(monkeypatch):
    check_loss()

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        return outputs.loss

    with monkeypatch.context() as patch:
        patch.setattr(SFTTrainer, "compute_loss", compute_loss)
        with pytest.raises(RuntimeError, match=r"trl>=1.16,<2.*'fused_lm_head', 'is_top1'"):
            check_loss()
    monkeypatch.setattr(gem, "READ", {*gem.READ, "perplexity"})
    with pytest.raises(RuntimeError, match=r"has no \['perplexity'\]"):
        check_loss()


def test_a_trl_whose_loss_takes_something_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(SFTTrainer, "compute_loss", lambda self, model, batch: None)
    with pytest.raises(RuntimeError, match=r"compute_loss\(model, inputs, .*trl>=1\.16,<2"):
        gem_runs.build("no/such-model", tmp_path)


def test_a_trl_that_leaves_the_forward_alone_is_refused(tiny_model_path, tmp_path, monkeypatch):
    monkeypatch.setattr("trl.trainer.sft_trainer.add_fused_lm_head", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match=r"needs the fused LM head of trl>=1\.16,<2"):
        gem_runs.build(tiny_model_path, tmp_path)


def test_the_model_generates_as_before(tiny_model_path, tmp_path):
    """`generate` looks at the signature of the forward that was replaced."""
    trainer = gem_runs.build(tiny_model_path, tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    fresh = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    expected = fresh.generate(ids, max_new_tokens=4, do_sample=False)
    for mode in (trainer.model.eval(), trainer.model.train()):
        assert mode.generate(ids, max_new_tokens=4, do_sample=False).tolist() == expected.tolist()
    assert inner_model(trainer.model) is trainer.model
    assert isinstance(trainer, GEMTrainer)
