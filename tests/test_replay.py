"""Verified replay in TRL's real trainer: the loss of a step, what the banks hold, processes, and resuming."""

import os
import shutil

import pytest
import torch
import yaml
from forked import in_two_processes
from kill_points import contents, differing
from layouts import EachByItself
from test_processes import COMPILES, environment_of
from test_replay_bank import naive
from test_trl import equal, length, steps, trainer_of, vowels
from trl import GRPOTrainer

from manypaths.cli import main
from manypaths.keys import NO_KEY, bigrams
from manypaths.resume import last_checkpoint
from manypaths.trl import DiverseGRPOTrainer, Replay

CORRECT = {"correct": "right"}


def right(completions, **_):
    """Right, wrong and unscored completions, by their text alone."""
    return [(1.0, 0.0, None, 1.0, 1.0, 1.0, 1.0)[sum(map(ord, text)) % 7] for text in completions]


def ways(completions, problems):
    """Six ways and no way, by the text alone."""
    return [sum(map(ord, text)) // 5 % 7 or NO_KEY for text in completions]


class Watched(DiverseGRPOTrainer):
    """Keeps the groups of every generation, and of every update the term in the loss and the same term by hand."""

    def __init__(self, *host, **named):
        self.generated, self.terms = [], []
        super().__init__(*host, **named)

    def fill_banks(self, output, rewards, correct, keys):
        for row, ids in enumerate(output["completion_ids"]):
            tokens = ids[output["completion_mask"][row].bool()].tolist()
            prompt = output["prompt_ids"][row][output["prompt_mask"][row].bool()].tolist()
            self.generated.append((tuple(prompt), keys.flatten()[row].item(), tuple(tokens)))
        super().fill_banks(output, rewards, correct, keys)

    def by_hand(self, model):
        """Equation 3 with the factor, from the logits of one exemplar after another."""
        bank, total = self._replayed, 0.0
        for completion in bank.completions:
            ids = torch.tensor([[*bank.prompt, *completion]])
            logprobs = (model(ids).logits[0, :-1] / self.temperature).log_softmax(-1)
            of_tokens = logprobs[torch.arange(len(logprobs)), ids[0, 1:]][len(bank.prompt) - 1 :]
            total = total - of_tokens.sum() / len(completion)
        group = self.num_generations
        return self.replay.weight * (group - 1) / group**2 * total / len(bank.completions)

    def _compute_loss(self, model, inputs):
        if self.replay is None:
            return super()._compute_loss(model, inputs)
        if self._micro_step.substep == 0:
            self.terms.append([0.0, 0.0])
        fresh = GRPOTrainer._compute_loss(self, model, inputs)
        loss = super()._compute_loss(model, inputs)
        if self._replayed is not None:
            self.terms[-1][0] += (loss - fresh).item()
            self.terms[-1][1] = self.by_hand(model).item()
        return loss


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def replaying(model, out, cls=Watched, rewards=(right, length), **settings):
    named = {"replay": Replay(weight=2.0, capacity=3), "keys": ways, "temperature": 0.7, **CORRECT, **settings}
    return trainer_of(model, out, cls, list(rewards), **named)


def bank_of(trainer):
    """What the banks must hold: right completions that ended, by a naive dictionary over everything generated."""
    decode, size = trainer.processing_class.decode, trainer.num_generations

    def fits(key, tokens):
        text = decode(tokens, skip_special_tokens=True)
        ended = tokens and tokens[-1] in trainer.eos_token_ids and any(t not in trainer.eos_token_ids for t in tokens)
        return right([text]) == [1.0] and key != NO_KEY and ended

    groups = [trainer.generated[start : start + size] for start in range(0, len(trainer.generated), size)]
    stream = [(group[0][0], [(key, tokens) for _, key, tokens in group if fits(key, tokens)]) for group in groups]
    return naive(stream, trainer.replay.capacity)


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_the_loss_of_an_update_has_the_term_once(ending_model, tmp_path, loss, accumulation):
    named = {"loss_type": loss, "gradient_accumulation_steps": accumulation, "num_iterations": 1 + accumulation % 2}
    ours = replaying(ending_model, tmp_path, steps=5, **named)
    ours.train()
    added, by_hand = torch.tensor(ours.terms).T
    assert (by_hand > 0.05).sum() >= 3
    torch.testing.assert_close(added, by_hand, rtol=1e-4, atol=1e-5)  # a difference of two losses
    factor = 2.0 * 3 / 16
    torch.testing.assert_close(factor * torch.tensor(logged(ours, "replay/loss")), by_hand[by_hand > 0])


def test_the_gradient_of_a_step_is_that_of_the_loss_and_the_term(ending_model, tmp_path):
    """Weights after one step of SGD, against the same step of GRPO and a step by hand on the term alone."""
    named = {"steps": 1, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0, "lr_scheduler_type": "constant"}
    plain = replaying(ending_model, tmp_path, replay=None, **named)
    start = [parameter.detach().clone() for parameter in plain.model.parameters()]
    plain.train()
    ours = replaying(ending_model, tmp_path, **named)
    ours.train()
    bank = ours._replayed
    assert bank is not None
    other = replaying(ending_model, tmp_path, **named)  # with the weights of the start
    other._replayed = bank
    other.model.eval()
    gradients = torch.autograd.grad(other.by_hand(other.model), list(other.model.parameters()))
    for before, without, with_term, gradient in zip(
        start, plain.model.parameters(), ours.model.parameters(), gradients, strict=True
    ):
        torch.testing.assert_close(with_term - before, without - before - 0.1 * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"num_iterations": 2}, {"dynamic_sampling": "length", "max_batches": 3}])
def test_the_banks_hold_the_right_completions_of_a_naive_dictionary(ending_model, tmp_path, settings):
    ours = replaying(ending_model, tmp_path, steps=8, **settings)
    ours.train()
    assert ours.banks.contents() == bank_of(ours)
    assert len(ours.banks) > 3 and ours.banks.ways > len(ours.banks)
    last = steps(ours)[-1]
    assert (last["replay/banks"], last["replay/exemplars"]) == (len(ours.banks), ours.banks.ways)
    assert 0 < last["replay/seconds"] < last["seconds/update"]


def test_groups_that_fill_up_a_batch_of_dynamic_sampling_are_unscored(ending_model, tmp_path):
    def always(completions, **_):
        return [1.0] * len(completions)

    named = {"dynamic_sampling": "always", "correct": "always", "max_batches": 1}
    ours = replaying(ending_model, tmp_path, DiverseGRPOTrainer, rewards=[always, length], **named)
    ours.train()
    assert len(ours.banks) == 0


@pytest.mark.parametrize("verdict", [0.0, 0.5, None, -1.0])
def test_without_a_right_completion_it_is_grpo_to_the_bit(ending_model, tmp_path, verdict):
    def right(completions, **_):
        return [verdict] * len(completions)

    named = {"rewards": [right, vowels]}
    ours = replaying(ending_model, tmp_path, DiverseGRPOTrainer, **named)
    ours.train()
    plain = replaying(ending_model, tmp_path, DiverseGRPOTrainer, replay=None, **named)
    plain.train()
    assert len(ours.banks) == 0 and equal(ours.model.parameters(), plain.model.parameters())
    entry = steps(ours)[-1]
    assert "replay/loss" not in entry and entry["replay/ways"] == entry["replay/banks"] == 0
    assert not any(name.startswith("replay/") for name in steps(plain)[-1])


@pytest.mark.parametrize(
    "tokens",
    [[], [256], [0, 4, 256], [1] * 8, [1] * 8 + [256], [1, 2]],
    ids=["empty", "an end token", "end tokens alone", "truncated", "longer than the limit", "not ended"],
)
def test_hostile_completions_that_a_verifier_accepts_are_not_replayed(ending_model, tmp_path, tokens):
    class Scripted(DiverseGRPOTrainer):
        def _generate_single_turn(self, prompt_ids, *more):
            return [list(tokens) for _ in prompt_ids], None

    def everything(completions, **_):
        return [1.0] * len(completions)

    named = {"rewards": [everything], "correct": 0, "keys": lambda completions, _: [1] * len(completions)}
    if tokens:  # TRL itself takes no empty completion
        ours = replaying(ending_model, tmp_path, Scripted, **named)
        ours.train()
    else:
        ours = replaying(ending_model, tmp_path, DiverseGRPOTrainer, mask_truncated_completions=True, **named)
        ours.eos_token_ids.clear()  # all completions are masked as truncated: none of their tokens is left
        ours.train()
    assert len(ours.banks) == 0


def test_an_evaluation_leaves_the_banks_alone(ending_model, tmp_path):
    ours = replaying(ending_model, tmp_path)
    ours.train()
    before, turn, count = ours.banks.contents(), ours.banks.state_dict()["turn"], len(ours.terms)
    ours.evaluate()
    assert (ours.banks.contents(), ours.banks.state_dict()["turn"]) == (before, turn)
    assert len(ours.terms) > count and not any(added for added, _ in ours.terms[count:])


def test_banks_are_written_before_the_state_that_makes_a_checkpoint_complete(ending_model, tmp_path):
    class Ordered(DiverseGRPOTrainer):
        def _save_optimizer_and_scheduler(self, output_dir):
            super()._save_optimizer_and_scheduler(output_dir)
            names = os.listdir(output_dir)
            assert "replay.pt" in names and "trainer_state.json" not in names

    replaying(ending_model, tmp_path, Ordered, save_strategy="steps", save_steps=2).train()
    assert (tmp_path / "checkpoint-2" / "trainer_state.json").is_file()


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}])
def test_a_resumed_training_ends_with_equal_weights_and_banks(ending_model, tmp_path, settings):
    named = {"steps": 6, "save_strategy": "steps", "save_steps": 3, **settings}
    whole = replaying(ending_model, tmp_path, **named)
    whole.train()
    again = replaying(ending_model, tmp_path, **named)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert again.banks.contents() == whole.banks.contents() and again.banks.take() == whole.banks.take()
    assert equal(again.model.parameters(), whole.model.parameters())
    assert 0 < whole.banks.ways > len(torch.load(tmp_path / "checkpoint-3" / "replay.pt")["keys"]) > 0

    other = replaying(ending_model, tmp_path, **named, replay=Replay(weight=2.0, capacity=4))
    with pytest.raises(ValueError, match="The capacity of replay must be 3, that of the banks in the checkpoint"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    (tmp_path / "checkpoint-3" / "replay.pt").unlink()
    with pytest.raises(ValueError, match=r"checkpoint-3/replay\.pt must hold the banks of verified replay, and is"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keys": None}, "replay 'accepted' must be given keys, which is missing here. Pass keys="),
        ({"correct": None}, "replay 'accepted' must be given correct, which is missing here. Pass correct="),
        ({"keys": bigrams}, "Replay must have keys that hold for the whole training, got 'bigrams'"),
        ({"replay": 0.1}, r"replay must be a manypaths\.trl\.Replay, got 0\.1"),
        ({"rollout_func": lambda prompts, trainer: {}}, "Replay must have text alone, got tools, an environment or"),
    ],
    ids=["no keys", "no verdicts", "keys of groups", "a number", "rollout"],
)
def test_refusals(ending_model, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        replaying(ending_model, tmp_path, **settings)


def run(model, out, accumulation, processes, size=12):
    """Train with samples that do not depend on processes -> (weights, banks, replay/loss, replay/ways) by step."""
    torch.set_num_threads(1)
    trainer = replaying(
        model,
        out,
        EachByItself,
        per_device_train_batch_size=size // processes,
        gradient_accumulation_steps=accumulation,
        optim="sgd",
        learning_rate=3e-3,
        steps=5,
        num_generations=6,
        max_grad_norm=0.0,
        ddp_backend="gloo" if processes > 1 else None,
    )
    trainer.train()
    numbers = [torch.tensor(logged(trainer, name)) for name in ("replay/loss", "replay/ways")]
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights, trainer.banks.contents(), numbers


def run_in_each(model, out, cases, environment):
    """`run` in each of several processes; all of them must have the same banks. Writes OUT/runs.pt."""
    os.environ |= environment
    processes = int(os.environ["WORLD_SIZE"])
    runs = [run(model, out, *case, processes) for case in cases]
    gathered = [None] * processes
    torch.distributed.all_gather_object(gathered, [banks for _, banks, _ in runs])
    assert all(banks == gathered[0] for banks in gathered)
    if os.environ["RANK"] == "0":
        torch.save(runs, out / "runs.pt")
    torch.distributed.barrier()


@pytest.mark.parametrize("config", ["ddp", pytest.param("zero2", marks=COMPILES)])
def test_two_processes_have_the_banks_and_weights_of_one(ending_model, tmp_path, monkeypatch, config):
    cases, replayed = [(1,), (2,)], set()
    in_two_processes(run_in_each, ending_model, tmp_path, cases, environment_of(config, monkeypatch))
    for case, (weights, banks, numbers) in zip(cases, torch.load(tmp_path / "runs.pt"), strict=True):
        its_weights, its_banks, its_numbers = run(ending_model, tmp_path, *case, 1)
        assert banks == its_banks and len(banks) > 3
        torch.testing.assert_close(numbers, its_numbers)
        replayed |= {*numbers[1].tolist()}
        torch.testing.assert_close(weights, its_weights)
    assert {1.0, 3.0} <= replayed  # a process that is left over, and one that has more than the other


def letters(completions, problems):
    """Keys for recipes: test_replay.letters."""
    return [sum(map(ord, text)) % 5 for text in completions]


@pytest.fixture
def recipe(ending_model, tiny_recipe, tmp_path):
    """The tiny recipe with LoRA and its dropout, and with replay of what is right by the text alone."""
    changes = {
        "model": {"name": str(ending_model), "dtype": "float32"},
        "rewards": {"test_replay.right": 1.0},
        "method": {"advantage": "maxrl", "correct": "test_replay.right"},
        "keys": {"name": "test_replay.letters"},
        "replay": {"weight": 2.0, "capacity": 3},
        "embedder": {"name": "ngram"},
    }
    path = tmp_path / "replay.yaml"
    path.write_text(yaml.safe_dump({**tiny_recipe, **changes}))
    return path


def test_a_run_that_is_resumed_ends_as_if_it_had_not_been_stopped(recipe, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["train", str(recipe), "--out", str(whole)]) == 0
    shutil.copytree(whole, stopped)
    for folder in ("model", "checkpoints/checkpoint-6", "checkpoints/checkpoint-4"):
        shutil.rmtree(stopped / folder)
    (stopped / "summary.json").unlink()
    assert main(["train", str(recipe), "--out", str(stopped)]) == 0
    assert differing(contents(whole), contents(stopped)) == []
    banks = [(run / "checkpoints" / "checkpoint-6" / "replay.pt") for run in (whole, stopped)]
    (first, second) = [torch.load(path, weights_only=True) for path in banks]
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert len(first["keys"]) > 3
    banks[0].write_bytes(banks[0].read_bytes()[:100])
    assert last_checkpoint(whole, lambda _: None).step == 4  # a damaged file of banks is found before it is read


def test_a_recipe_with_replay_names_what_is_missing(recipe, tmp_path, capsys):
    for change, message in {
        "keys.name=null": "replay 'accepted' must be given keys, which is missing here. Set keys.name=answer",
        "keys.name=bigrams": "Replay must have keys that hold for the whole training, got 'bigrams'",
        "method={correct: null}": "must be given correct, which is missing here. Set method.correct=accuracy",
    }.items():
        assert main(["train", str(recipe), change, "--out", str(tmp_path / "run")]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
