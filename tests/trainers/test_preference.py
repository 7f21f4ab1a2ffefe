"""Weighted DPO and SPL against TRL's own trainer, the formulas, and a TRL that has moved."""

import math

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from diversify.losses import spl_loss, weighted_dpo_loss
from diversify.trainers.preference import SPLTrainer, WeightedDPOTrainer

PAIRS = [
    ("Name a colour.", "one wild red", "blue", 0.5),
    ("Name a fruit.", "the fig", "an apple or any other fruit", 2.0),
    ("Tell a story.", "long ago there was a city", "no", 0.0),
    ("Name a city.", "Paris", "the first city of my country", 1.5),
]
LORA = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")


def pair_set(weights=None, rows=PAIRS):
    columns = {"prompt": [], "chosen": [], "rejected": []}
    for prompt, chosen, rejected, _ in rows:
        columns["prompt"].append([{"role": "user", "content": prompt}])
        columns["chosen"].append([{"role": "assistant", "content": chosen}])
        columns["rejected"].append([{"role": "assistant", "content": rejected}])
    weights = [row[3] for row in rows] if weights is None else weights
    return Dataset.from_dict(columns | {"weight": weights})


@pytest.fixture
def build(tiny_model_path, tmp_path):
    """Build a trainer on the tiny model; the same call gives the same model and the same order."""

    def make(trainer=DPOTrainer, pairs=None, alpha=None, lora=None, test=None, **options):
        defaults = {"max_steps": 3, "per_device_train_batch_size": 2, "learning_rate": 1e-3}
        defaults |= {"gradient_checkpointing": False, "disable_tqdm": True, "report_to": "none"}
        defaults |= {"bf16": False, "use_cpu": True, "logging_steps": 1, "save_strategy": "no"}
        more = {} if alpha is None else {"alpha": alpha}
        return trainer(
            str(tiny_model_path),
            args=DPOConfig(output_dir=str(tmp_path / "out"), **defaults | options),
            train_dataset=pair_set() if pairs is None else pairs,
            eval_dataset=test,
            peft_config=lora,
            **more,
        )

    return make


def first_batch(trainer):
    """The batch of all pairs, in order, as the trainer prepares it."""
    columns = set(trainer.train_dataset.column_names) - {"prompt", "chosen", "rejected"}
    rows = [{name: row[name] for name in columns} for row in trainer.train_dataset]
    return trainer._prepare_inputs(trainer.data_collator(rows))


def loss_and_gradients(trainer):
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, first_batch(trainer))
    loss.backward()
    found = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    assert found
    return loss.detach(), found


def trained(trainer):
    """The losses in the log and the weights after training."""
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == trainer.args.max_steps
    return losses, {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def sequence_log_probs(model, path, pairs=PAIRS):
    """Log-probabilities of the completions, with the plain model and no help of TRL."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    sides = []
    for side in (1, 2):
        sums = []
        for row in pairs:
            chat = [{"role": "user", "content": row[0]}]
            start = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
            chat.append({"role": "assistant", "content": row[side]})
            ids = torch.tensor([tokenizer.apply_chat_template(chat)["input_ids"]])
            with torch.no_grad():
                logps = model(ids).logits.double().log_softmax(-1)[0, :-1]
            sums.append(logps.gather(1, ids[0, 1:, None])[len(start) - 1 :].sum())
        sides.append(torch.stack(sums))
    return sides


def reference_log_probs(path):
    model = AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    return sequence_log_probs(model.eval(), path)


# --- weights --------------------------------------------------------------------------------

WEIGHTABLE = ["sigmoid", "ipo", "sigmoid_norm", "apo_zero", "apo_down", "exo_pair", "nca_pair"]
WEIGHTABLE += ["robust", "bco_pair", "sppo_hard", "discopop"]


@pytest.mark.parametrize("loss_type", [*WEIGHTABLE, ["sigmoid", "bco_pair"]], ids=str)
def test_at_weight_one_loss_and_gradients_are_trls_bit_for_bit(build, loss_type):
    options = {"loss_type": loss_type, "label_smoothing": 0.01, "pairs": pair_set([1.0] * 4)}
    expected, gradients = loss_and_gradients(build(**options))
    loss, found = loss_and_gradients(build(WeightedDPOTrainer, **options))
    assert torch.equal(loss, expected)
    assert found.keys() == gradients.keys()
    assert all(torch.equal(found[name], gradients[name]) for name in found)


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo", "sigmoid_norm", "apo_zero"])
def test_at_weight_one_training_is_trls_bit_for_bit(build, loss_type):
    pairs = pair_set([1.0] * 4)
    losses, weights = trained(build(pairs=pairs, loss_type=loss_type))
    found, after = trained(build(WeightedDPOTrainer, pairs=pairs, loss_type=loss_type))
    assert found == losses and len(set(losses)) == 3
    assert all(torch.equal(after[name], weights[name]) for name in weights)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_the_loss_is_the_mean_of_the_weighted_losses(build, tiny_model_path, lora):
    """After three steps, so that policy and reference differ."""
    rate = 1e-2 if lora else 1e-3
    trainer = build(WeightedDPOTrainer, lora=lora, beta=0.3, learning_rate=rate)
    trainer.train()
    trainer.model.eval()
    policy = sequence_log_probs(trainer.model, tiny_model_path)
    weights = torch.tensor([row[3] for row in PAIRS])
    reference = reference_log_probs(tiny_model_path)
    expected = weighted_dpo_loss(*policy, *reference, weights, beta=0.3)
    assert expected.std() > 0.01
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, first_batch(trainer))
    assert loss.item() == pytest.approx(expected.mean().item(), abs=1e-6)


def test_each_weight_multiplies_the_loss_of_its_own_pair(build):
    """Alone in a batch, pair by pair: w times what TRL computes for that pair."""
    for row in PAIRS:
        alone = pair_set(rows=[row])
        expected, _ = loss_and_gradients(build(pairs=alone))
        loss, _ = loss_and_gradients(build(WeightedDPOTrainer, pairs=alone))
        assert loss.item() == pytest.approx(row[3] * expected.item(), rel=1e-6)


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo"])
def test_pairs_of_weight_zero_train_exactly_nothing(build, loss_type):
    options = {"pairs": pair_set([0.0] * 4), "loss_type": loss_type}
    loss, gradients = loss_and_gradients(build(WeightedDPOTrainer, **options))
    assert loss == 0
    assert all((gradient == 0).all() for gradient in gradients.values())
    one = build(WeightedDPOTrainer, pairs=pair_set([0.0, 0.0, 0.0, 4.0]), loss_type=loss_type)
    alone = build(WeightedDPOTrainer, pairs=pair_set([1.0], PAIRS[3:]), loss_type=loss_type)
    assert loss_and_gradients(one)[0].item() == pytest.approx(
        loss_and_gradients(alone)[0].item(), rel=1e-6
    )


def test_accumulated_batches_train_as_one_batch_does(build):
    """Two batches of one pair accumulated, or one batch of two: the same steps."""
    whole, weights = trained(build(WeightedDPOTrainer))
    parts = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    losses, after = trained(build(WeightedDPOTrainer, **parts))
    assert losses == pytest.approx(whole, abs=1e-5)
    assert all(torch.allclose(after[name], weights[name], atol=1e-4) for name in weights)


def test_evaluation_is_weighted_and_its_metrics_are_not(build):
    test = pair_set([3.0, 1.0, 0.0, 2.0])
    options = {"per_device_eval_batch_size": 4, "precompute_ref_log_probs": True}
    trainer = build(WeightedDPOTrainer, test=test, **options)
    metrics = trainer.evaluate()
    losses = [build(WeightedDPOTrainer, test=pair_set([1.0], [r]), **options) for r in PAIRS]
    single = [trainer.evaluate()["eval_loss"] for trainer in losses]
    expected = (3 * single[0] + single[1] + 2 * single[3]) / 4
    assert metrics["eval_loss"] == pytest.approx(expected, abs=1e-6)
    again = trainer.evaluate(pair_set([1.0] * 4))  # a set that it sees for the first time
    assert again["eval_loss"] == pytest.approx(sum(single) / 4, abs=1e-6)
    assert again["eval_rewards/margins"] == metrics["eval_rewards/margins"]


def test_the_start_up_check_leaves_no_trace(build):
    plain, weighted = build(), build(WeightedDPOTrainer)
    assert weighted._metrics == plain._metrics
    assert weighted._total_train_tokens == 0
    assert weighted.precompute_ref_logps is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_type": "aot"}, "'aot' sorts the pairs"),
        ({"loss_type": "aot_unpaired"}, "'aot_unpaired' sorts the pairs"),
        ({"loss_type": ["sigmoid", "sft"]}, "'sft' has one value for the whole batch"),
        ({"loss_type": "hinge"}, "'hinge' cannot be scaled"),
        ({"use_weighting": True}, "needs use_weighting=False, got True"),
        ({"pairs": pair_set().remove_columns("weight")}, "train_dataset has no column 'weight'"),
        ({"test": {"a": pair_set().remove_columns("weight")}}, r"eval_dataset\['a'\] has no"),
        ({"pairs": pair_set([1.0, -1.0, 1.0, 1.0])}, "train_dataset: weights must be .* got -1.0"),
        ({"pairs": pair_set([1.0, math.nan, 1.0, 1.0])}, "weights must be finite .* got nan"),
        ({"pairs": pair_set([1.0, None, 1.0, 1.0])}, "weights must be finite .* got None"),
        (
            {"pairs": pair_set().remove_columns("weight").to_iterable_dataset()},
            "train_dataset has no column",
        ),
    ],
)
def test_what_cannot_be_weighted_is_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(WeightedDPOTrainer, **options)


def test_a_stream_of_pairs_is_checked_as_it_comes(build):
    trainer = build(WeightedDPOTrainer, pairs=pair_set([1.0, 1.0, -1.0, 1.0]).to_iterable_dataset())
    with pytest.raises(ValueError, match=r"the batch: weights must be .* got -1.0"):
        trainer.train()


# --- a TRL that has moved -------------------------------------------------------------------


def unweighted(self, model, inputs, return_outputs, original=DPOTrainer._compute_loss):
    """No factor of WPO any more."""
    kept, self.use_weighting = self.use_weighting, False
    try:
        return original(self, model, inputs, return_outputs)
    finally:
        self.use_weighting = kept


def other_name(self, model, inputs, return_outputs):
    return model(input_ids=inputs["input_ids"]).per_token_logps.sum()


def other_signature(self, model, inputs):
    raise AssertionError("never reached")


def clamped(self, model, inputs, return_outputs, original=DPOTrainer._compute_loss):
    """The factor at most 1, as in the WPO authors' own code."""
    exp, torch.exp = torch.exp, lambda x: exp(x).clamp(max=1.0)
    try:
        return original(self, model, inputs, return_outputs)
    finally:
        torch.exp = exp


@pytest.mark.parametrize("moved", [unweighted, other_name, other_signature, clamped])
def test_weights_refuse_a_trl_that_computes_otherwise(build, monkeypatch, moved):
    monkeypatch.setattr(DPOTrainer, "_compute_loss", moved)
    with pytest.raises(
        RuntimeError, match=r"WeightedDPOTrainer builds on the loss of trl>=1\.16,<2, and"
    ):
        build(WeightedDPOTrainer)


def beta_from_args(self, model, inputs, return_outputs, original=DPOTrainer._compute_loss):
    kept, self.beta = self.beta, self.args.beta
    try:
        return original(self, model, inputs, return_outputs)
    finally:
        self.beta = kept


def no_reference(self, model, inputs, return_outputs, original=DPOTrainer._compute_loss):
    zeros = {name: torch.zeros(1) for name in ("ref_chosen_logps", "ref_rejected_logps")}
    return original(self, model, inputs | zeros, return_outputs)


@pytest.mark.parametrize("moved", [beta_from_args, no_reference, other_name, other_signature])
def test_spl_refuses_a_trl_that_computes_otherwise(build, monkeypatch, moved):
    monkeypatch.setattr(DPOTrainer, "_compute_loss", moved)
    with pytest.raises(RuntimeError, match=r"SPLTrainer builds on the loss of trl>=1\.16,<2, and"):
        build(SPLTrainer, alpha=0.2)


# --- SPL and H-DPO --------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_spl_is_the_formula(build, tiny_model_path, lora):
    """Independent log-probabilities, after three steps, to 1e-6."""
    rate = 1e-2 if lora else 1e-3
    trainer = build(SPLTrainer, alpha=0.15, beta=0.1, lora=lora, learning_rate=rate)
    trainer.train()
    trainer.model.eval()
    policy = sequence_log_probs(trainer.model, tiny_model_path)
    reference = reference_log_probs(tiny_model_path)
    expected = spl_loss(*policy, *reference, alpha=0.15, beta=0.1).mean().item()
    plain = spl_loss(*policy, *reference, alpha=0.1, beta=0.1).mean().item()
    assert abs(expected - plain) > 1e-3
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, first_batch(trainer))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ld_alpha", [None, 0.5])
def test_spl_with_equal_weights_is_dpo_step_by_step(build, ld_alpha):
    options = {"beta": 0.3, "ld_alpha": ld_alpha}
    losses, weights = trained(build(precompute_ref_log_probs=True, **options))
    found, after = trained(build(SPLTrainer, alpha=0.3, **options))
    assert found == losses and len(set(losses)) == 3
    assert all(torch.equal(after[name], weights[name]) for name in weights)
    assert trained(build(SPLTrainer, alpha=0.6, **options))[0] != losses


def test_runs_with_another_ratio_never_share_its_scale(build, tiny_model_path, tmp_path):
    """On disk TRL keeps reference log-probabilities; by data and model, and by nothing else.

    Were they kept scaled, the second run would read the first one's scale.
    """
    pair_set().save_to_disk(tmp_path / "pairs")
    policy = reference_log_probs(tiny_model_path)
    for alpha, beta in ((0.15, 0.1), (0.2, 0.1), (0.1, 0.2)):
        trainer = build(
            SPLTrainer, alpha=alpha, beta=beta, pairs=Dataset.load_from_disk(tmp_path / "pairs")
        )
        expected = spl_loss(*policy, *policy, alpha=alpha, beta=beta).mean().item()
        loss = trainer.compute_loss(trainer.model, first_batch(trainer)).item()
        assert loss == pytest.approx(expected, abs=1e-6)
    pairs = Dataset.load_from_disk(tmp_path / "pairs")
    plain = build(pairs=pairs, precompute_ref_log_probs=True)
    assert loss_and_gradients(plain)[0].item() == pytest.approx(math.log(2), abs=1e-6)


def test_spl_evaluates_by_the_formula(build, tiny_model_path):
    options = {"alpha": 0.2, "beta": 0.1, "per_device_eval_batch_size": 4}
    trainer = build(SPLTrainer, test=pair_set(), **options)
    policy = reference_log_probs(tiny_model_path)
    expected = spl_loss(*policy, *policy, alpha=0.2, beta=0.1).mean().item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-6)


def test_the_host_cannot_round_the_reference(build):
    """DeepSpeed in bfloat16 would cast every float of a batch."""
    trainer = build(SPLTrainer, alpha=0.2)
    rows = [dict(row) for row in trainer.train_dataset]
    exact = trainer.data_collator(rows)["ref_chosen_logps"]
    trainer._prepare_input = lambda batch: {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in batch.items()
    }
    prepared = trainer._prepare_inputs(trainer.data_collator(rows))["ref_chosen_logps"]
    assert torch.equal(prepared, exact)
    assert not torch.equal(exact.bfloat16().float(), exact)


def test_spl_leaves_the_config_it_was_given_alone(build, tmp_path):
    trainer = build(SPLTrainer, alpha=0.2, beta=0.1)
    assert (trainer.beta, trainer.args.beta) == (0.2, 0.1)
    args = DPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, report_to="none")
    SPLTrainer(trainer.model.config._name_or_path, args=args, alpha=0.2, train_dataset=pair_set())
    assert args.precompute_ref_log_probs is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha must be a number above 0, got 0.0"),
        ({"alpha": math.nan}, "alpha must be a number above 0"),
        ({"alpha": 0.1, "beta": 0.0}, "beta must be a number above 0"),
        ({"alpha": 0.1, "loss_type": "ipo"}, r"SPL needs loss_type=\['sigmoid'\], got \['ipo'\]"),
        ({"alpha": 0.1, "loss_type": ["sigmoid", "sft"]}, r"needs loss_type=\['sigmoid'\]"),
        ({"alpha": 0.1, "f_divergence_type": "js_divergence"}, "needs f_divergence_type"),
        ({"alpha": 0.1, "use_weighting": True}, "needs use_weighting=False"),
        ({"alpha": 0.1, "sync_ref_model": True}, "needs sync_ref_model=False"),
    ],
)
def test_what_would_not_be_spl_is_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(SPLTrainer, **options)
