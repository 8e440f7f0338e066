"""A prompt history in TRL's real trainer: which prompts are sampled, processes, and resuming."""

import itertools
import random
import shutil

import pytest
import torch
import yaml
from datasets import Dataset
from forked import in_two_processes
from kill_points import contents, differing
from layouts import EachByItself
from test_dynamic_sampling import Watched
from test_history import state
from test_trl import PROMPTS as MORE_PROMPTS
from test_trl import equal, length, steps, trained, trainer_of
from trl import GRPOConfig, GRPOTrainer

from manypaths import mmr
from manypaths.cli import main
from manypaths.embed import NgramEmbedder
from manypaths.methods import maxrl
from manypaths.resume import last_checkpoint
from manypaths.trl import DiverseGRPOTrainer, PromptHistory
from manypaths.trl.prompt_history import TRIES

PROMPTS = MORE_PROMPTS[::3]  # an epoch of six steps: two prompts for each first number
MMR = {"reweight": mmr, "embedder": NgramEmbedder(), "advantage": maxrl}
TOGETHER = {"reweight": mmr, "embedder": NgramEmbedder(), "select": (2, "mmr"), "skip_zero_advantage": True}


def kind(prompt):
    """easy, hard or mixed, by the first number."""
    return ("easy", "hard", "mixed")[int(prompt[0]) % 3]


def right(prompts, completions, **_):
    """All right on easy prompts, none on hard ones, every second one on the others."""
    verdicts = {"easy": (1.0, 1.0), "hard": (0.0, 0.0), "mixed": (0.0, 1.0)}
    return [verdicts[kind(prompt)][index % 2] for index, prompt in enumerate(prompts)]


def never(completions, **_):
    return [0.0] * len(completions)


def eager(**settings):
    """A history that passes over a flat prompt with probability 0.95."""
    return PromptHistory(**{"discount": 0.0, "prior": 0.0, "explore": 0.05, "step": 0.0, **settings})


def remembering(model, out, cls=Watched, rewards=(right, length), **settings):
    named = {"history": eager(), "correct": "right", **settings}
    return over(trainer_of(model, out, cls, list(rewards), **named))


def over(trainer, rows=None):
    """A trainer on other data: by default on PROMPTS."""
    trainer.train_dataset = Dataset.from_list(rows or [{"prompt": prompt, "answer": "5"} for prompt in PROMPTS])
    return trainer


def logged(trainer, name):
    return [entry[f"history/{name}"] for entry in steps(trainer)]


def sampled(trainer, places=2):
    """The prompts that were sampled, in batches of so many groups of 4."""
    prompts = trainer.sampled[::4]
    assert [prompt for prompt in prompts for _ in range(4)] == trainer.sampled
    return [prompts[start : start + places] for start in range(0, len(prompts), places)]


def loaders(model, out, **settings):
    """The batches of prompts that the loader gives, as GRPO samples them."""
    plain = over(trainer_of(model, out, Watched, [right, length], **settings))
    plain.train()
    return sampled(plain)


class ByHand:
    """Which prompts are sampled, by a naive loop over lists: a second writing of the rule, for `eager` histories."""

    def __init__(self, prompts, seed=42, shuffled=True, spread=lambda prompt: kind(prompt) == "mixed"):
        self.prompts, self.seed, self.shuffled, self.spread, self.flat = prompts, seed, shuffled, spread, set()
        self.passed_over = []

    def step(self, number, batch, substep=0):
        """The batch of the loader -> the batch that is sampled in this step."""
        return self.filled(number, batch, substep, at_least=0)[0]

    def filled(self, number, batch, substep=0, at_least=2):
        """The batch of the loader -> the batches that are sampled until so many groups have spread."""
        draw = random.Random(f"{self.seed} history {number} {substep}")
        further, size = self.further(number, batch, substep), len(batch)
        self.passed_over.append(0)
        batches = []
        while not batches or sum(map(self.spread, itertools.chain(*batches))) < at_least:
            own = [self.prompts[next(further)] for _ in range(size)] if batches else batch
            batches.append(self.chosen(own, draw, further))
        return batches

    def chosen(self, batch, draw, further):
        """A batch in which prompts were replaced."""
        seen, result, passed_over = set(batch), [], 0
        for own in batch:
            candidates, count = [own], 0
            if self.passes(own, draw):
                count, candidates = 1, []
                for _ in range(TRIES):
                    other = self.prompts[next(further)]
                    if other in seen:
                        continue
                    seen.add(other)
                    if not self.passes(other, draw):
                        candidates = [other]
                        break
                    count += 1
            result += candidates or [own]
            passed_over += count if candidates else count - 1
        self.passed_over[-1] += passed_over
        self.flat -= set(result)
        self.flat |= {prompt for prompt in result if not self.spread(prompt)}
        return result

    def passes(self, prompt, draw):
        return draw.random() < (0.95 if prompt in self.flat else 0.0)

    def further(self, number, batch, substep):
        if self.shuffled:
            draw = random.Random(f"{self.seed} {number} {substep}")
            while True:
                yield from draw.sample(range(len(self.prompts)), len(batch))
        else:
            start = self.prompts.index(batch[-1]) + 1
            yield from (row % len(self.prompts) for row in itertools.count(start))


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("method", [{}, MMR, TOGETHER], ids=["none", "mmr and maxrl", "together"])
def test_the_prompts_that_are_sampled_are_those_of_a_naive_loop(tiny_model, tmp_path, shuffled, method):
    named = {"steps": 18, "shuffle_dataset": shuffled}
    batches = loaders(tiny_model, tmp_path, **named)
    ours = remembering(tiny_model, tmp_path, **named, **method)
    ours.train()
    hand = ByHand(PROMPTS, shuffled=shuffled)
    expected = [hand.step(number, batch) for number, batch in enumerate(batches)]
    assert sampled(ours) == expected != batches
    assert logged(ours, "passed_over") == hand.passed_over and sum(hand.passed_over) > 10
    spread = [sum(kind(prompt) == "mixed" for prompt in batch) / 2 for batch in expected]
    assert logged(ours, "spread") == spread
    assert logged(ours, "prompts")[-1] == len({prompt for batch in expected for prompt in batch})
    flat = [[kind(prompt) != "mixed" for batch in part for prompt in batch] for part in (batches[6:], expected[6:])]
    assert sum(flat[1]) < 0.5 * sum(flat[0])  # in the second and third epoch


def test_accumulated_and_repeated_batches_have_draws_of_their_own(tiny_model, tmp_path):
    named = {"steps": 8, "gradient_accumulation_steps": 2, "steps_per_generation": 1}
    batches = loaders(tiny_model, tmp_path, **named)
    ours = remembering(tiny_model, tmp_path, **named)
    ours.train()
    hand = ByHand(PROMPTS)
    expected = [hand.step(number // 2, batch, number % 2) for number, batch in enumerate(batches)]
    assert len(expected) == 16 and sampled(ours) == expected
    assert logged(ours, "passed_over") == [sum(hand.passed_over[at : at + 2]) / 2 for at in range(0, 16, 2)]
    reused = remembering(tiny_model, tmp_path, steps=8, num_iterations=2)
    reused.train()
    assert len(sampled(reused)) == 4


@pytest.mark.parametrize("settings", [{}, {"dynamic_sampling": "length"}], ids=["alone", "dynamic"])
def test_where_no_prompt_is_passed_over_it_is_the_training_without_history_to_the_bit(tiny_model, tmp_path, settings):
    def right(completions, **_):
        return [float(index % 2) for index in range(len(completions))]

    def trained_with(**named):
        return trained(tiny_model, tmp_path, DiverseGRPOTrainer, [right, length], steps=3, **settings, **named)

    plain = trained_with()
    assert equal(plain, trained_with(correct="right"))
    assert equal(plain, trained_with(correct="right", history=PromptHistory()))


def test_without_a_history_it_is_grpo_trainer_to_the_bit(tiny_model, tmp_path):
    plain = over(trainer_of(tiny_model, tmp_path, GRPOTrainer, [right, length]))
    plain.train()
    ours = remembering(tiny_model, tmp_path, DiverseGRPOTrainer, history=None)
    ours.train()
    assert equal(plain.model.parameters(), ours.model.parameters())
    assert not any(name.startswith("history/") for entry in ours.state.log_history for name in entry)


@pytest.mark.parametrize("shuffled", [True, False])
def test_prompts_that_are_all_flat_are_sampled_all_the_same(tiny_model, tmp_path, shuffled):
    named = {"steps": 14, "shuffle_dataset": shuffled}
    batches = loaders(tiny_model, tmp_path, **named)
    ours = remembering(tiny_model, tmp_path, rewards=[never, length], correct="never", **named)
    ours.train()
    hand = ByHand(PROMPTS, shuffled=shuffled, spread=lambda prompt: False)
    expected = [hand.step(number, batch) for number, batch in enumerate(batches)]
    assert sampled(ours) == expected and set(logged(ours, "spread")) == {0.0}
    assert logged(ours, "passed_over") == hand.passed_over and max(hand.passed_over) > 5
    assert any(batch == other for batch, other in zip(batches[8:], expected[8:], strict=True))  # sampled after all


def test_data_of_one_batch_train_with_their_own_prompts(tiny_model, tmp_path):
    """No other prompt is there to take the places."""
    ours = remembering(tiny_model, tmp_path, rewards=[never], correct="never", steps=8)
    over(ours, [{"prompt": prompt} for prompt in PROMPTS[:2]]).train()
    assert [sorted(batch) for batch in sampled(ours)] == [sorted(PROMPTS[:2])] * 8
    assert set(logged(ours, "passed_over")) == {0.0}


def test_rows_with_one_prompt_share_a_history(tiny_model, tmp_path):
    ours = remembering(tiny_model, tmp_path, steps=9)
    ours.train_dataset = Dataset.from_list(
        [{"prompt": f"{2 + row % 3} + 1 =", "answer": str(row)} for row in range(18)]
    )
    ours.train()
    assert len(ours.history) == 3


class Batches(Watched):
    """Keeps what each generation batch sampled, by step."""

    def fresh_rewards(self, inputs, prompts, completions, ids):
        self.batches.append((self.state.global_step, prompts[::4]))
        return super().fresh_rewards(inputs, prompts, completions, ids)

    def __init__(self, *host, **named):
        self.batches = []
        super().__init__(*host, **named)


@pytest.mark.parametrize("shuffled", [True, False])
def test_further_batches_of_dynamic_sampling_pass_over_prompts_too(tiny_model, tmp_path, shuffled):
    named = {"steps": 12, "dynamic_sampling": "right", "max_batches": 30, "shuffle_dataset": shuffled}
    plain = remembering(tiny_model, tmp_path, Batches, history=None, **named)
    plain.train()
    ours = remembering(tiny_model, tmp_path, Batches, **named)
    ours.train()
    assert len(ours.batches) < 0.75 * len(plain.batches)  # fewer batches fill the same number of updates
    assert not any(kind(prompt) != "mixed" for prompt, _ in ours.updated) and len(ours.updated) == 12 * 8
    hand = ByHand(PROMPTS, shuffled=shuffled)
    batches = loaders(tiny_model, tmp_path, steps=12, shuffle_dataset=shuffled)
    expected = [hand.filled(number, batch) for number, batch in enumerate(batches)]
    assert ours.batches == [(step, batch) for step, sampled in enumerate(expected) for batch in sampled]
    assert logged(ours, "passed_over") == hand.passed_over and sum(hand.passed_over) > 10
    spread = [sum(kind(prompt) == "mixed" for batch in step for prompt in batch) / (2 * len(step)) for step in expected]
    assert logged(ours, "spread") == pytest.approx(spread)
    assert len(ours.history) == len({prompt for _, batch in ours.batches for prompt in batch})


def test_rates_follow_the_shares_of_flat_groups(tiny_model, tmp_path):
    history = PromptHistory(target=0.3, step=0.05)
    ours = remembering(tiny_model, tmp_path, steps=18, history=history)
    ours.train()
    known, easy, hard, expected = set(), 0.5, 0.5, []
    for batch in sampled(ours):
        kinds = [kind(prompt) for prompt in batch if prompt in known]
        if kinds:
            easy += -0.05 if kinds.count("easy") / len(kinds) >= 0.1 else 0.05
            hard += -0.05 if kinds.count("hard") / len(kinds) >= 0.2 else 0.05
            easy, hard = (min(0.95, max(0.05, rate)) for rate in (easy, hard))
        known |= set(batch)
        expected.append((easy, hard))
    rates = list(zip(logged(ours, "explore_easy"), logged(ours, "explore_hard"), strict=True))
    torch.testing.assert_close(torch.tensor(rates), torch.tensor(expected))
    assert len(set(expected)) > 5


def test_an_evaluation_leaves_the_history_alone(tiny_model, tmp_path):
    ours = remembering(tiny_model, tmp_path)
    ours.train()
    before, count = state(ours.history), len(ours.sampled)
    ours.evaluate()
    assert state(ours.history) == before
    assert len(ours.sampled) > count


def test_a_failed_step_leaves_no_prompts_behind(tiny_model, tmp_path):
    class Failing(Watched):
        def _generate_single_turn(self, prompt_ids, *more):
            raise RuntimeError("out of memory")

    ours = remembering(tiny_model, tmp_path, Failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        ours.train()
    assert ours._prompts is None and len(ours.history) == 0


@pytest.mark.parametrize("settings", [{}, {"dynamic_sampling": "right"}, {"shuffle_dataset": False}], ids=str)
def test_a_resumed_training_ends_with_equal_weights_and_history(tiny_model, tmp_path, settings):
    named = {"steps": 14, "save_strategy": "steps", "save_steps": 8, **settings}
    named |= {"rewards": [right, length]}

    def history():
        return PromptHistory(step=0.03, discount=0.6)

    whole = remembering(tiny_model, tmp_path, history=history(), **named)
    whole.train()
    again = remembering(tiny_model, tmp_path, history=history(), **named)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert again.sampled == whole.sampled[-len(again.sampled) :] and sum(logged(whole, "passed_over")[8:]) > 2
    assert state(again.history) == state(whole.history)
    assert equal(again.model.parameters(), whole.model.parameters())

    other = remembering(tiny_model, tmp_path, history=PromptHistory(step=0.03), **named)
    with pytest.raises(ValueError, match=r"The discount of the history must be 0\.6, that of the history in the check"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    (tmp_path / "checkpoint-8" / "history.pt").unlink()
    with pytest.raises(ValueError, match=r"checkpoint-8/history\.pt must hold the history of prompts, and is missing"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"correct": None}, "history must be given correct, which is missing here. Pass correct="),
        ({"history": 0.25}, r"history must be a manypaths\.trl\.PromptHistory, got 0\.25. Pass history=PromptHistory"),
        ({"rollout_func": lambda prompts, trainer: {}}, "A prompt history must have plain text, got tools, an envir"),
        ({"tools": [len]}, "A prompt history must have plain text, got tools, an environment or"),
        ({"environment_factory": dict}, "A prompt history must have plain text, got tools, an environment or"),
        ({"correct": "wrong"}, "correct must be the name of a reward function, right or length"),
    ],
    ids=["no verdicts", "a number", "rollout", "tools", "environment", "no such reward"],
)
def test_refusals(tiny_model, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        remembering(tiny_model, tmp_path, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.to_iterable_dataset(), "A prompt history must have a dataset with a length, got Iterable"),
        (lambda data: data.add_column("image", [None] * len(data)), "A prompt history must have text alone, got a col"),
    ],
    ids=["streamed", "images"],
)
def test_data_is_refused_before_a_model_is_loaded(tmp_path, change, message):
    config = GRPOConfig(str(tmp_path), use_cpu=True, num_generations=4, max_steps=1, report_to="none")
    data = change(Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]))
    with pytest.raises(ValueError, match=message):
        Watched("no such model", right, config, train_dataset=data, history=PromptHistory(), correct="right")


def by_text(prompts, completions, **_):
    """Right by the text alone where a prompt is mixed, for groups that are split over processes."""
    verdicts = {
        "easy": lambda text: 1.0,
        "hard": lambda text: 0.0,
        "mixed": lambda text: float(sum(map(ord, text)) % 2),
    }
    return [verdicts[kind(prompt)](text) for prompt, text in zip(prompts, completions, strict=True)]


def run(model, out, settings, processes):
    """Train with samples that do not depend on processes -> weights, history, prompts of this process, metrics."""

    class Kept(EachByItself, Watched):
        pass

    torch.set_num_threads(1)
    trainer = trainer_of(
        model,
        out,
        Kept,
        [by_text, length],
        per_device_train_batch_size=12 // processes,
        optim="sgd",
        learning_rate=0.1,
        steps=8,
        history=eager(step=0.02),
        correct="by_text",
        ddp_backend="gloo" if processes > 1 else None,
        **settings,
    )
    over(trainer).train()
    numbers = {name: logged(trainer, name) for name in ("passed_over", "spread", "explore_easy", "explore_hard")}
    return (trainer.accelerator.get_state_dict(trainer.model_wrapped), state(trainer.history), trainer.sampled, numbers)


def run_in_each(model, out, cases):
    """`run` in each of two processes, which must have the same history; writes OUT/runs.pt."""
    runs = [run(model, out, settings, 2) for settings in cases]
    gathered = [None] * 2
    torch.distributed.all_gather_object(gathered, [(history, prompts) for _, history, prompts, _ in runs])
    for (first, own), (second, others) in zip(*gathered, strict=True):
        assert first == second and own != others
    if torch.distributed.get_rank() == 0:
        torch.save(runs, out / "runs.pt")
    torch.distributed.barrier()


def test_two_processes_have_the_history_and_weights_of_one(tiny_model, tmp_path):
    """Three groups of 4 over two processes of 6: the middle group is split."""
    cases = [{}, {"dynamic_sampling": "by_text", "max_batches": 20}, TOGETHER]
    in_two_processes(run_in_each, tiny_model, tmp_path, cases)
    for settings, two in zip(cases, torch.load(tmp_path / "runs.pt", weights_only=False), strict=True):
        weights, history, _, numbers = run(tiny_model, tmp_path, settings, 1)
        assert numbers == two[3] and sum(numbers["passed_over"]) > 3
        assert history == two[1]
        torch.testing.assert_close(two[0], weights)


def by_prompt(prompts, completions, **_):
    """For recipes: easy and hard prompts by their text, and a share of right ones elsewhere."""
    kinds = [sum(map(ord, prompt)) % 3 for prompt in prompts]
    return [(1.0, 0.0, float(len(text) % 2))[own] for own, text in zip(kinds, completions, strict=True)]


@pytest.fixture
def recipe(tiny_recipe, tmp_path):
    """The tiny recipe with a history, 18 steps of 2 problems: several epochs."""
    changes = {
        "rewards": {"test_prompt_history.by_prompt": 1.0, "test_run.letters": 0.5},
        "problems": {"name": "arithmetic", "options": {"count": 10, "seed": 1}},
        "method": {"reweight": "mmr", "correct": "test_prompt_history.by_prompt"},
        "history": {"target": 0.25, "step": 0.05},
        "trainer": {**tiny_recipe["trainer"], "max_steps": 18, "save_steps": 6},
    }
    path = tmp_path / "history.yaml"
    path.write_text(yaml.safe_dump({**tiny_recipe, **changes, "evaluation": None}))
    return path


def test_a_run_that_is_stopped_and_resumed_ends_as_if_it_had_not_been_stopped(recipe, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["train", str(recipe), "--out", str(whole)]) == 0
    shutil.copytree(whole, stopped)
    for folder in ("model", "checkpoints/checkpoint-18", "checkpoints/checkpoint-12"):
        shutil.rmtree(stopped / folder)
    (stopped / "summary.json").unlink()
    assert main(["train", str(recipe), "--out", str(stopped)]) == 0
    assert differing(contents(whole), contents(stopped)) == []
    files = [(run / "checkpoints" / "checkpoint-18" / "history.pt") for run in (whole, stopped)]
    first, second = (torch.load(path, weights_only=True) for path in files)
    histories = [PromptHistory(step=0.05), PromptHistory(step=0.05)]
    for history, loaded in zip(histories, (first, second), strict=True):
        history.load_state_dict(loaded)
    assert state(histories[0]) == state(histories[1])
    assert len(first["keys"]) == 10 and first["flat"].abs().max() > 1
    files[0].write_bytes(files[0].read_bytes()[:100])
    assert last_checkpoint(whole, lambda _: None).step == 12  # a damaged history is found before it is read


def test_a_recipe_with_a_history_names_what_is_missing(recipe, tmp_path, capsys):
    for change, message in {
        "method={correct: null}": "history must be given correct, which is missing here. Set method.correct=accuracy",
        "method={correct: accuracy}": "method.correct must be one of test_prompt_history.by_prompt",
        "history.target=2": "history.target must be from 0 to 1, got 2",
        "history.tries=2": "history.tries",
    }.items():
        assert main(["train", str(recipe), change, "--out", str(tmp_path / "run")]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
