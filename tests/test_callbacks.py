"""The callbacks for scripts of one's own, with TRL's own trainers: what they record, and that they change nothing."""

import functools
import json

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from manypaths import mmr
from manypaths.callbacks import EvaluateProblems, RecordGroups
from manypaths.cli import main
from manypaths.comparison.runs import read_run
from manypaths.embed import NgramEmbedder
from manypaths.files import read_jsonl
from manypaths.names import PARTS
from manypaths.problems import arithmetic
from manypaths.trl import DiverseGRPOTrainer
from manypaths.wrapper import DiverseReward

PROMPTS = [{"prompt": f"{a} + 2 = ", "answer": str(a + 2)} for a in range(8)]
HELD_OUT = [{"prompt": f"{a} + 3 = ", "answer": str(a + 3)} for a in range(3)]
TRAINERS = {GRPOTrainer: GRPOConfig, RLOOTrainer: RLOOConfig, DiverseGRPOTrainer: GRPOConfig}


def letters(completions, **_):
    return [sum(character.isalpha() for character in text) / 8 for text in completions]


def even(completions, **_):
    return [float(sum(map(ord, text)) % 2 == 0) for text in completions]


def trainer_of(tiny_model, out, kind=GRPOTrainer, steps=4, rewards=(letters, even), **settings):
    more = {"reweight": mmr, "embedder": NgramEmbedder()} if kind is DiverseGRPOTrainer else {}
    named = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 6, "logging_steps": 1}
    named |= {"learning_rate": 1e-2, "bf16": False, "use_cpu": True, "report_to": "none", "disable_tqdm": True}
    args = TRAINERS[kind](str(out), max_steps=steps, **{"save_strategy": "no", "beta": 0.0, **named, **settings})
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model, padding_side="right")
    data = Dataset.from_list(PROMPTS)
    named = {"args": args, "train_dataset": data, "processing_class": tokenizer, **more}
    return kind(model=model, reward_funcs=list(rewards), **named)


def record(trainer, out=None, **named):
    trainer.add_callback(RecordGroups(trainer, out, **named))
    trainer.add_callback(EvaluateProblems(trainer, HELD_OUT, out, every=2, samples=2))
    return trainer


class Logs(TrainerCallback):
    """What TRL's table of completions has after each step."""

    def __init__(self, trainer):
        self.trainer, self.tables = trainer, {}

    def on_step_end(self, args, state, *_, **__):
        logs = self.trainer._logs
        rewards = {name: list(values) for name, values in logs["rewards"].items()}
        self.tables[state.global_step] = (list(logs["completion"]), rewards, list(logs["advantages"]))


def parameters(trainer):
    return {name: value.clone() for name, value in trainer.model.named_parameters()}


@pytest.mark.parametrize("kind", TRAINERS)
def test_the_folder_is_that_of_the_trainers_own_logs_and_the_commands_read_it(kind, tiny_model, tmp_path, capsys):
    out = tmp_path / "run-1"
    trainer = record(trainer_of(tiny_model, out, kind), answer_column="answer")
    trainer.add_callback(logs := Logs(trainer))
    trainer.train()
    groups = read_jsonl(out / "groups.jsonl")
    assert [(line["step"], line["group"]) for line in groups] == [(step, g) for step in range(1, 5) for g in (0, 1)]
    for line in groups:
        texts, rewards, advantages = logs.tables[line["step"]]
        rows = range(4 * line["group"], 4 * line["group"] + 4)
        assert [own["text"] for own in line["completions"]] == [texts[row] for row in rows]
        assert [own["advantage"] for own in line["completions"]] == [advantages[row] for row in rows]
        for own, row in zip(line["completions"], rows, strict=True):
            assert own["rewards"] == {name: rewards[name][row] for name in ("letters", "even")}
            assert own["raw"] == pytest.approx(rewards["letters"][row] + rewards["even"][row])
            assert kind is DiverseGRPOTrainer or own["adjusted"] == own["raw"]
        assert line["answer"] == str(int(line["prompt"].split()[0]) + 2)
        assert line["method"] == ("mmr" if kind is DiverseGRPOTrainer else None)
    assert [line["step"] for line in read_jsonl(out / "metrics.jsonl")] == [1, 2, 3, 4]
    summary = json.loads((out / "evaluation" / "summary.json").read_text())
    assert {when: entry["step"] for when, entry in summary.items()} == {"before": 0, "step-2": 2, "after": 4}
    assert all(entry["problems"] == 3 and entry["samples"] == 2 for entry in summary.values())
    end = json.loads((out / "summary.json").read_text())
    parts = {"evaluation", *(PARTS if kind is DiverseGRPOTrainer else ())}
    assert end["steps"] == 4 and end["seconds"].keys() == parts

    second = record(trainer_of(tiny_model, tmp_path / "run-2", kind, seed=7))
    second.train()
    assert main(["inspect", str(out)]) == 0 and (out / "inspect.html").exists()
    assert main(["compare", str(out), str(tmp_path / "run-2"), "--out", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "comparison.json").read_text())
    (configuration,) = report["configurations"]
    assert any("trained by a script" in note for note in report["notes"])
    assert sorted(map(int, configuration["seeds"])) == [7, 42]
    capsys.readouterr()
    assert main(["evaluate", str(out)]) == 2
    assert "--problems" in capsys.readouterr().err


@pytest.mark.parametrize("kind", TRAINERS)
def test_the_training_is_the_same_without_them(kind, tiny_model, tmp_path):
    plain = trainer_of(tiny_model, tmp_path / "plain", kind)  # which seeds
    plain.train()
    recorded = record(trainer_of(tiny_model, tmp_path / "recorded", kind))
    recorded.train()
    assert recorded.model.training == plain.model.training
    for name, value in parameters(plain).items():
        torch.testing.assert_close(value, parameters(recorded)[name], rtol=0, atol=0)


def test_a_generation_is_recorded_once(tiny_model, tmp_path):
    """Of two updates with one generation, and of two generations in one update."""
    again = record(trainer_of(tiny_model, tmp_path / "again", num_iterations=2))
    again.train()
    assert [line["step"] for line in read_jsonl(tmp_path / "again" / "groups.jsonl")] == [1, 1, 3, 3]
    named = {"gradient_accumulation_steps": 2, "steps_per_generation": 1}
    two = record(trainer_of(tiny_model, tmp_path / "two", steps=2, **named))
    two.train()
    assert [line["step"] for line in read_jsonl(tmp_path / "two" / "groups.jsonl")] == [1] * 4 + [2] * 4
    accumulated = record(trainer_of(tiny_model, tmp_path / "one", steps=2, gradient_accumulation_steps=2))
    accumulated.train()
    assert [line["step"] for line in read_jsonl(tmp_path / "one" / "groups.jsonl")] == [1] * 4 + [2] * 4


@pytest.mark.parametrize(("settings", "steps"), [({}, [1, 3, 6]), ({"num_iterations": 2}, [1, 3, 5])])
def test_the_groups_of_every_third_step_are_recorded(tiny_model, tmp_path, settings, steps):
    """With two updates for a generation, steps 3 and 6 train on the generations of steps 3 and 5."""
    trainer = trainer_of(tiny_model, tmp_path, steps=7, **settings)
    trainer.add_callback(RecordGroups(trainer, every=3, groups=1))
    trainer.train()
    assert [line["step"] for line in read_jsonl(tmp_path / "groups.jsonl")] == steps


@pytest.mark.parametrize("kind", [GRPOTrainer, RLOOTrainer])
def test_the_hours_of_a_comparison_are_those_of_trl(tiny_model, tmp_path, kind):
    trainer = trainer_of(tiny_model, tmp_path, kind, steps=5, logging_steps=2)
    trainer.add_callback(RecordGroups(trainer))
    trainer.train()
    means = {line["step"]: line["step_time"] for line in read_jsonl(tmp_path / "metrics.jsonl")}
    expected = [(2, 2 * means[2]), (4, 2 * means[2] + 2 * means[4]), (5, 2 * means[2] + 2 * means[4] + means[5])]
    run = read_run(tmp_path)
    assert run.clock == [(step, pytest.approx(seconds)) for step, seconds in expected] and not run.parts
    assert any("times are TRL's step_time, which excludes the optimiser" in note for note in run.notes)
    lines = read_jsonl(tmp_path / "metrics.jsonl")
    del lines[1]["step_time"]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    without = read_run(tmp_path)
    assert not without.clock and any("some of its lines have no step_time" in note for note in without.notes)


@pytest.mark.parametrize("kind", [GRPOTrainer, DiverseGRPOTrainer])
def test_a_recording_that_begins_at_a_checkpoint_invents_no_hours(tiny_model, tmp_path, kind):
    saving = {"save_strategy": "steps", "save_steps": 2}
    trainer_of(tiny_model, tmp_path, kind, steps=2, **saving).train()
    trainer = trainer_of(tiny_model, tmp_path, kind, **saving)
    trainer.add_callback(RecordGroups(trainer))
    trainer.train(str(tmp_path / "checkpoint-2"))
    assert [line["step"] for line in read_jsonl(tmp_path / "metrics.jsonl")] == [2, 3, 4]
    run = read_run(tmp_path)
    assert not run.clock and any("times are left out" in note for note in run.notes)
    again = trainer_of(tiny_model, tmp_path, kind, **saving)
    again.add_callback(RecordGroups(again))
    again.train(str(tmp_path / "checkpoint-2"))
    assert [line["step"] for line in read_jsonl(tmp_path / "groups.jsonl")] == [3, 3, 4, 4]


def test_reward_functions_of_one_name_are_refused(tiny_model, tmp_path):
    """TRL's table would have the rewards of the last one alone."""
    trainer = trainer_of(tiny_model, tmp_path, rewards=[letters, lambda completions, **_: [1.0] * len(completions)])
    RecordGroups(trainer)
    trainer = trainer_of(tiny_model, tmp_path, rewards=[letters, functools.partial(letters)])
    with pytest.raises(ValueError, match="names of their own, got 'letters' 2 times"):
        RecordGroups(trainer)


def test_a_trainer_of_ones_own_may_have_groups(tiny_model, tmp_path):
    trainer = trainer_of(tiny_model, tmp_path, steps=1)
    trainer.groups = "of another kind"
    record(trainer).train()
    assert len(read_jsonl(tmp_path / "groups.jsonl")) == 2


def test_a_training_that_is_resumed_has_no_line_twice(tiny_model, tmp_path, capsys):
    saving = {"save_strategy": "steps", "save_steps": 2, "logging_steps": 3}
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    record(trainer_of(tiny_model, whole, **saving)).train()
    record(trainer_of(tiny_model, parted, steps=4, **saving)).train()
    record(trainer_of(tiny_model, parted, steps=4, **saving)).train(str(parted / "checkpoint-2"))
    for name in ("groups.jsonl", "metrics.jsonl"):
        steps = [[line["step"] for line in read_jsonl(run / name)] for run in (whole, parted)]
        assert steps[0] == steps[1], name
    assert json.loads((parted / "evaluation" / "summary.json").read_text()).keys() == {"before", "step-2", "after"}
    with pytest.raises(ValueError, match="holds the records of another training"):
        record(trainer_of(tiny_model, parted, **saving)).train()
    capsys.readouterr()
    changed = record(trainer_of(tiny_model, parted, steps=4, **{**saving, "learning_rate": 1e-3}))
    changed.train(str(parted / "checkpoint-2"))
    assert "resumed with other settings" in capsys.readouterr().err
    assert json.loads((parted / "script.json").read_text())["until"]["2"]["trainer"]["learning_rate"] == 1e-2


def test_an_evaluation_that_a_kill_cut_off_is_made_at_its_checkpoint(tiny_model, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 2}
    record(trainer_of(tiny_model, tmp_path, **saving)).train()
    file, evaluation = tmp_path / "evaluation" / "step-2.jsonl", tmp_path / "evaluation"
    before = file.read_bytes()
    for path in (evaluation / "summary.json", evaluation / "counts.json"):
        path.write_text(
            json.dumps({when: own for when, own in json.loads(path.read_text()).items() if when != "step-2"})
        )
    file.unlink()
    record(trainer_of(tiny_model, tmp_path, **saving)).train(str(tmp_path / "checkpoint-2"))
    assert json.loads((evaluation / "summary.json").read_text())["step-2"]["step"] == 2
    assert file.read_bytes() == before


def test_a_run_that_differs_in_more_than_its_seed_is_another_configuration(tiny_model, tmp_path):
    for name in ("a", "b"):
        trainer = trainer_of(tiny_model, tmp_path / name, steps=1)
        record(trainer, tmp_path / name / "run", settings={"data": name}).train()
    runs = [str(tmp_path / name / "run") for name in ("a", "b")]
    assert main(["compare", *runs, "--out", str(tmp_path / "report")]) == 0
    assert len(json.loads((tmp_path / "report" / "comparison.json").read_text())["configurations"]) == 2


def test_mistakes_are_sentences(tiny_model, tmp_path):
    trainer = trainer_of(tiny_model, tmp_path / "run")
    for make, message in {
        lambda: RecordGroups("runs/mine"): "must be given a GRPOTrainer or RLOOTrainer",
        lambda: RecordGroups(trainer, every=0): "every must be 1 or more, got 0",
        lambda: RecordGroups(trainer, answer_column="gold"): "prompt, answer, got 'gold'",
        lambda: EvaluateProblems(trainer, []): "one or more, got none",
        lambda: EvaluateProblems(trainer, [{"prompt": "a"}]): "the keys prompt and answer",
        lambda: EvaluateProblems(trainer, HELD_OUT, temperature=0.0): "samples must be 1 with temperature 0",
        lambda: EvaluateProblems(trainer, HELD_OUT, prompt="{question}"): "prompt must be left out",
        lambda: EvaluateProblems(trainer, HELD_OUT, every=0): "every must be a number of steps",
        lambda: EvaluateProblems(trainer, HELD_OUT, keys="nothing"): "nothing",
    }.items():
        with pytest.raises(ValueError, match=message.replace("{", "\\{")):
            make()


def test_problems_are_asked_as_in_training(tiny_model, tmp_path):
    trainer = trainer_of(tiny_model, tmp_path / "run")
    system = {"role": "system", "content": "Add."}
    chat = [{"prompt": [system, {"role": "user", "content": f"{a} + 1"}], "answer": str(a + 1)} for a in range(2)]
    callback = EvaluateProblems(trainer, chat)
    assert callback.prompt == [system, {"role": "user", "content": "{question}"}]
    assert [problem.question for problem in callback.problems] == ["0 + 1", "1 + 1"]
    other = [*chat, {"prompt": [{"role": "user", "content": "3"}], "answer": "3"}]
    with pytest.raises(ValueError, match="another at problem 2"):
        EvaluateProblems(trainer, other)
    assert EvaluateProblems(trainer, arithmetic(count=2, seed=1), prompt="{question} ").prompt == "{question} "
    assert callback.sampling.temperature == trainer.args.temperature and callback.sampling.max_new_tokens == 6


def test_an_evaluation_before_a_training_without_a_step_is_repeated(tiny_model, tmp_path):
    """The second training may begin with other weights."""

    def broken(completions, **_):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        record(trainer_of(tiny_model, tmp_path, rewards=[broken])).train()
    summary = tmp_path / "evaluation" / "summary.json"
    first = json.loads(summary.read_text())
    summary.write_text(json.dumps({"before": {**first["before"], "accuracy": 0.75}}))
    record(trainer_of(tiny_model, tmp_path, steps=1)).train()
    assert json.loads(summary.read_text())["before"]["accuracy"] == first["before"]["accuracy"] != 0.75


def test_what_a_diverse_reward_was_given_is_unknown(tiny_model, tmp_path):
    adjusted = DiverseReward([letters, even], reweight=mmr, embedder=NgramEmbedder(), num_generations=4)
    trainer = trainer_of(tiny_model, tmp_path, steps=1, rewards=[adjusted])
    trainer.add_callback(RecordGroups(trainer))
    trainer.train()
    for line in read_jsonl(tmp_path / "groups.jsonl"):
        assert line["method"] == "mmr"
        for own in line["completions"]:
            assert own["raw"] is None and own["adjusted"] == own["rewards"][trainer.reward_func_names[0]]


@pytest.mark.parametrize("settings", [{"beta": 0.1}, {"reward_clip_range": (0.0, 1.0)}])
def test_what_an_rlootrainer_makes_of_rewards_is_unknown(tiny_model, tmp_path, settings):
    record(trainer_of(tiny_model, tmp_path / "run", RLOOTrainer, steps=1, **settings)).train()
    for line in read_jsonl(tmp_path / "run" / "groups.jsonl"):
        assert all(own["adjusted"] is None and own["raw"] is not None for own in line["completions"])
    assert main(["inspect", str(tmp_path / "run")]) == 0
