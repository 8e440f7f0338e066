"""The reward function that adjusts others, in the trainers that take one."""

import asyncio
import inspect
import json
import pickle
import re
import types
import warnings
from functools import partial
from pathlib import Path

import pytest
import reference
import torch
from datasets import Dataset
from forked import in_two_processes
from test_trl import PROMPTS, length, some_unscored, trainer_of, vowels
from transformers import AutoTokenizer
from trl import GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.experimental.async_grpo import async_rollout_worker
from trl.scripts import grpo

from manypaths import dra, mmr
from manypaths.embed import NgramEmbedder
from manypaths.keys import NO_KEY, bigrams, same_key
from manypaths.methods import ADVANTAGES
from manypaths.trl import DiverseGRPOTrainer
from manypaths.wrapper import DiverseReward, group_size

PAGE = Path(__file__).parent.parent / "docs" / "trainers.md"
WORDS = ["one two three", "one two", "nothing alike", "one two three", "", "zz", "zzz", "one"]
UNUSED = ["rollout_buffer", "model_version_value", "heartbeat_value", "failed_event", "exception_info_queue"]
UNUSED += ["metrics_queue"]
MESSAGES = [[{"role": "user", "content": "Say"}]] * 4 + [[{"role": "user", "content": "Count"}]] * 4


def wrapped(rewards=vowels, size=4, reweight=mmr, **options):
    return DiverseReward(rewards, reweight=reweight, embedder=NgramEmbedder(), num_generations=size, **options)


def expected(texts, scores):
    """MMR's adjusted rewards of one group, by the naive loops."""
    rows = NgramEmbedder()(texts).double()
    scores = [float("nan") if score is None else score for score in scores]
    return reference.mmr(scores, (rows @ rows.T).tolist(), ties="diverse")


def same(actual, numbers):
    assert [value is None for value in actual] == [number != number for number in numbers]
    actual = torch.tensor([float("nan") if value is None else value for value in actual])
    torch.testing.assert_close(actual, torch.tensor(numbers, dtype=torch.float32), equal_nan=True)


@pytest.mark.parametrize("reweight", [mmr, dra])
@pytest.mark.parametrize("functions", [[vowels, length], [some_unscored, some_unscored]], ids=["scored", "unscored"])
def test_plain_grpo_trainer_with_it_is_the_diverse_one(tiny_model, tmp_path, reweight, functions):
    """The same advantages, and so the same parameters, to float32 rounding; the raw means and measures too."""
    named = {"reward_weights": [1.0, 0.5], "scale_rewards": "none"}
    ours = trainer_of(
        tiny_model, tmp_path, DiverseGRPOTrainer, functions, reweight=reweight, embedder=NgramEmbedder(), **named
    )
    ours.train()
    plain = trainer_of(
        tiny_model,
        tmp_path,
        rewards=wrapped(functions, reweight=reweight, reward_weights=[1, 0.5]),
        scale_rewards="none",
    )
    plain.train()
    torch.testing.assert_close(list(plain._logs["advantages"]), list(ours._logs["advantages"]), rtol=1e-5, atol=1e-6)
    for weight, expected_weight in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(weight, expected_weight)
    assert plain._logs["rewards"].keys() == {"adjusted"} and list(plain._logs["extra"]) == ["raw"]
    shared = [f"rewards/{function.__name__}/mean" for function in functions]
    shared += [name for name in plain.state.log_history[0] if name.startswith(("diversity/", "groups/"))]
    assert len(shared) == 7
    for name in ["reward", *shared]:
        expected_mean, mean = (trainer.state.log_history[0][name] for trainer in (plain, ours))
        assert expected_mean == pytest.approx(mean, abs=1e-5), name


@pytest.mark.parametrize("rewards", [vowels, some_unscored])
def test_rloo_takes_its_baseline_from_adjusted_rewards(tiny_model, tmp_path, rewards):
    config = RLOOConfig(
        str(tmp_path), per_device_train_batch_size=8, num_generations=4, max_completion_length=8, max_steps=1, beta=0.0,
        report_to="none", save_strategy="no", use_cpu=True, bf16=False, disable_tqdm=True, logging_steps=1,
    )  # fmt: skip
    data = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS])
    trainer = RLOOTrainer(str(tiny_model), wrapped(rewards), config, data)
    trainer.train()
    texts, advantages = list(trainer._logs["completion"]), list(trainer._logs["advantages"])
    for group in (slice(0, 4), slice(4, 8)):
        adjusted = torch.tensor(expected(texts[group], rewards(texts)[group]))
        others = (adjusted.nansum() - adjusted) / ((~adjusted.isnan()).sum() - 1)
        actual = torch.tensor(advantages[group])
        torch.testing.assert_close(actual, (adjusted - others).nan_to_num(0.0), rtol=1e-4, atol=1e-4)
    logged = trainer.state.log_history[0]
    assert f"rewards/{rewards.__name__}/mean" in logged and logged["diversity/share"] > 0


@pytest.mark.parametrize("host", [GRPOTrainer, "rloo"])
def test_progress_is_that_of_the_trainer(tiny_model, tmp_path, host):
    """The share of the steps that are done: 0 in the first of four, 3/4 in the last."""
    seen = []

    def scheduled(rewards, progress):
        seen.append(progress.item())
        return rewards * (1 - progress / 2)

    reward = DiverseReward(vowels, reweight=scheduled, num_generations=4)
    if host is GRPOTrainer:
        trainer = trainer_of(tiny_model, tmp_path, rewards=reward, steps=4, scale_rewards="none")
    else:
        data = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS])
        config = RLOOConfig(
            str(tmp_path), per_device_train_batch_size=8, num_generations=4, max_completion_length=8, max_steps=4,
            report_to="none", save_strategy="no", use_cpu=True, bf16=False, disable_tqdm=True,
        )  # fmt: skip
        trainer = RLOOTrainer(str(tiny_model), reward, config, data)
    trainer.train()
    assert seen[-4:] == [0, 0.25, 0.5, 0.75]


def test_what_a_reward_function_cannot_have_is_refused():
    reward = DiverseReward(vowels, reweight=lambda rewards, progress: rewards * progress, num_generations=4)
    with pytest.raises(ValueError, match=r"must be given progress, .* this trainer passes no trainer_state"):
        reward(["a"] * 4, WORDS[:4])
    works = r"It works in DiverseGRPOTrainer\(advantage=...\), verl \(diversity.advantage\) and slime"
    for named in (
        {"reweight": dra, "advantage": ADVANTAGES["maxrl"]},
        {"reweight": ADVANTAGES["maxrl"], "correct": "vowels"},
        {"reweight": partial(ADVANTAGES["focal"], gamma=1.0), "correct": "vowels"},
        {"reweight": ADVANTAGES["grpo_pos"]},
    ):
        with pytest.raises(ValueError, match=works):
            DiverseReward(vowels, num_generations=4, embedder=NgramEmbedder(), **named)
    with pytest.raises(ValueError, match=r"must be given logprobs, .* passes none to a reward function"):
        DiverseReward(vowels, num_generations=4, reweight=lambda rewards, logprobs: rewards + logprobs)


def test_async_grpo_scores_a_group_with_a_copy_of_it(tiny_model):
    """TRL's own worker loop, without its vLLM server: it gets a pickled copy, and calls it in a thread for a group."""
    texts, unused = WORDS[:4], dict.fromkeys(UNUSED)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.response_template = "none"  # it parses calls of tools
    loop = async_rollout_worker._AsyncRolloutLoop(
        model_name="tiny",
        dataset=Dataset.from_list([{"prompt": MESSAGES[0]}]),
        reward_funcs=[pickle.loads(pickle.dumps(wrapped([length_of_messages, coroutine])))],
        processing_class=tokenizer,
        eos_token_ids=[tokenizer.eos_token_id],
        num_generations=4,
        **unused,
    )
    group = async_rollout_worker.RolloutGroup(
        prompts=MESSAGES[:4],
        reward_kwargs={"answer": ["5"] * 4},
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completions_ids=[[1]] * 4,
        completions_sequences=[[types.SimpleNamespace(input_ids=[1], completion_mask=[1], old_log_probs=[0.0])]] * 4,
        tool_call_counts=[0] * 4,
        tool_failure_counts=[0] * 4,
        model_version=0,
        group_id=0,
        env_rewards=[],
        rollout_rewards=[],
    )
    samples = asyncio.run(loop._score_group(group))
    adjusted = torch.tensor(expected(texts, [len(text) / 10 + 1 for text in texts]), dtype=torch.float64)
    advantages = (adjusted - adjusted.mean()) / adjusted.std(correction=0)
    actual = torch.tensor([sample.advantage for sample in samples], dtype=torch.float64)
    torch.testing.assert_close(actual, advantages, rtol=1e-5, atol=1e-5)
    assert [sample.metrics["rewards/adjusted"] for sample in samples] == [
        sample.metrics["reward"] for sample in samples
    ]


def length_of_messages(completions, **_):
    return length([messages[0]["content"] for messages in completions])


async def coroutine(prompts, **_):
    await asyncio.sleep(0)
    return [1.0] * len(prompts)


def test_trl_grpo_takes_what_the_page_shows(tiny_model, tmp_path, monkeypatch, capsys):
    """What `trl grpo` does, in this process: its parser, the data, the dotted path, its main."""
    (tmp_path / "data").mkdir()
    rows = [{"prompt": prompt, "answer": "5"} for prompt in PROMPTS]
    (tmp_path / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my_rewards.py").write_text(shown[0])
    monkeypatch.chdir(tmp_path)
    line = f"--model_name_or_path {tiny_model} --dataset_name data --reward_funcs my_rewards.diverse --output_dir out"
    line += " --per_device_train_batch_size 8 --num_generations 8 --max_completion_length 8 --max_steps 1 --use_cpu"
    line += " --bf16 false --report_to none --save_strategy no --logging_steps 1 --dtype float32"
    grpo.main(*grpo.make_parser().parse_args_and_config(line.split(), fail_with_unknown_args=False))
    logged = capsys.readouterr().out
    assert "'rewards/adjusted/mean'" in logged and "'rewards/accuracy/mean'" in logged
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_evaluation_is_adjusted_and_tells_the_raw_means(tiny_model, tmp_path):
    sizes = {"num_generations": 4, "num_generations_eval": 2}
    trainer = trainer_of(tiny_model, tmp_path, rewards=wrapped(vowels, 4, num_generations_eval=2), **sizes)
    metrics = trainer.evaluate()
    texts = list(trainer._logs["completion"])
    assert metrics["eval_rewards/vowels/mean"] == pytest.approx(sum(vowels(texts)) / len(texts), abs=1e-5)
    adjusted = [
        reward for at in range(0, len(texts), 2) for reward in expected(texts[at : at + 2], vowels(texts[at : at + 2]))
    ]
    assert metrics["eval_reward"] == pytest.approx(sum(adjusted) / len(texts), abs=1e-5)


def split_group(tiny_model, tmp_path):
    settings = {"per_device_train_batch_size": 4, "num_generations": 8, "ddp_backend": "gloo"}
    trainer = trainer_of(tiny_model, tmp_path, rewards=wrapped(length, 8), steps=1, **settings)
    trainer.train()
    logs = {name: list(trainer._logs[name]) for name in ("prompt", "completion", "advantages")}
    logs["adjusted"], logs["raw"] = list(trainer._logs["rewards"]["adjusted"]), list(trainer._logs["extra"]["raw"])
    trainer.accelerator.wait_for_everyone()
    return {"logged": trainer.state.log_history[0], **logs}


def test_a_group_split_over_two_processes_is_one_group(tiny_model, tmp_path):
    logs = in_two_processes(split_group, tiny_model, tmp_path)
    texts = logs["completion"]
    assert len(texts) == 8 and len(set(logs["prompt"])) == 1
    adjusted = expected(texts, length(texts))
    same(logs["adjusted"], adjusted)
    same(logs["raw"], length(texts))
    torch.testing.assert_close(
        torch.tensor(logs["advantages"]), torch.tensor(reference.advantages(adjusted)), rtol=1e-4, atol=1e-4
    )
    assert logs["logged"]["rewards/length/mean"] == pytest.approx(sum(length(texts)) / 8, abs=1e-5)


def ragged_inputs():
    """Inputs of one group of four that lies in two processes, whose texts differ in length."""
    from accelerate import PartialState

    rank = PartialState(cpu=True, backend="gloo").process_index
    texts = [["same words here", ""], ["same words here", "\U0001f600 " * 300]][rank]
    columns = {"completion_ids": [[1] * len(text) for text in texts]}
    gathered = {}

    def method(rewards, similarity, keys, lengths, correct):
        gathered.update(similarity=similarity, keys=keys, lengths=lengths, correct=correct)
        return rewards

    named = {"reweight": method, "keys": partial(bigrams, threshold=0.5), "correct": "length"}
    DiverseReward(length, num_generations=4, **named)(["a problem"] * 2, texts, **columns)
    return {name: values.tolist() for name, values in gathered.items()}


def test_inputs_of_ragged_texts_in_two_processes_are_those_of_one_group():
    inputs = in_two_processes(ragged_inputs)
    first, none, other, long = inputs["keys"][0]
    assert first == other and len({first, none, long}) == 3 and none == NO_KEY
    assert inputs["similarity"][0] == same_key(torch.tensor(inputs["keys"]))[0].tolist()
    assert inputs["lengths"] == [[15, 0, 15, 600]] and inputs["correct"] == [[1.0, 0.0, 1.0, 1.0]]


@pytest.mark.parametrize("rewards", [vowels, some_unscored])
def test_without_a_trainer(rewards):
    """Strings or messages, groups apart, None for unscored completions, one reward only beside another's None."""
    actual = wrapped(rewards)(MESSAGES, WORDS)
    assert actual == wrapped(rewards)(prompts=["a"] * 4 + ["b"] * 4, completions=WORDS, answer=["5"] * 8)
    same(actual, expected(WORDS[:4], rewards(WORDS)[:4]) + expected(WORDS[4:], rewards(WORDS)[4:]))
    both = wrapped([rewards, length], reward_weights=[2.0, 0.5])(MESSAGES, WORDS)
    scores = [2 * (score or 0.0) + 0.5 * other for score, other in zip(rewards(WORDS), length(WORDS), strict=True)]
    same(both, expected(WORDS[:4], scores[:4]) + expected(WORDS[4:], scores[4:]))


def test_coroutine_functions_also_beneath_a_running_loop():
    async def inside():
        return wrapped([coroutine, length])(MESSAGES, WORDS)

    assert asyncio.run(inside()) == wrapped([coroutine, length])(MESSAGES, WORDS)
    scores = [1 + score for score in length(WORDS)]
    same(asyncio.run(inside()), expected(WORDS[:4], scores[:4]) + expected(WORDS[4:], scores[4:]))


def test_columns_and_loggers_reach_the_functions():
    seen, metrics, extra = {}, {}, {}

    def curious(completions, log_metric, log_extra, **columns):
        seen.update(columns)
        log_metric("curiosity", 3.0)
        log_extra("seen", WORDS)
        return [1.0] * len(completions)

    columns = {"answer": ["5"] * 8}
    wrapped(partial(curious))(MESSAGES, WORDS, log_metric=metrics.__setitem__, log_extra=extra.__setitem__, **columns)
    assert seen == {**columns, "prompts": MESSAGES}
    assert metrics.pop("curiosity") == 3.0 and extra.pop("seen") == WORDS
    assert metrics["rewards/curious/mean"] == 1 and metrics["groups/zero_std"] == 1
    assert metrics["rewards/raw/mean"] == 1 and extra == {"raw": [1.0] * 8}


def test_groups_of_evaluation_may_have_another_size():
    alone = wrapped(length, 4, num_generations_eval=1)
    assert alone(list("abcde"), WORDS[:5]) == pytest.approx(length(WORDS[:5]))
    assert alone(MESSAGES, WORDS) == wrapped(length)(MESSAGES, WORDS)


def test_refusals():
    ask = "runs of 4 completions of one prompt, got 8 completions in runs of"
    for keys, runs in (("aaabbbbb", "3, 5"), ("abababab", "1, 1, 1, 1, 1, 1, 1, 1"), ("aaaaaabb", "6, 2")):
        with pytest.raises(ValueError, match=f"{ask} {runs}. Pass the trainer's own"):
            wrapped()(list(keys), WORDS)
    with pytest.raises(ValueError, match=r"runs of 4 or 3 completions .* got 7 completions in runs of 7"):
        group_size(["a"] * 7, [4, 3])
    with pytest.raises(ValueError, match=r"'curious' must return one reward per completion, 8, got 2"):
        curious = types.FunctionType((lambda **_: [1.0, 2.0]).__code__, {}, "curious")
        wrapped(curious)(MESSAGES, WORDS)
    with pytest.raises(ValueError, match="one weight a function, got 1 for 2"):
        wrapped([vowels, length], reward_weights=[1.0])
    with pytest.raises(ValueError, match="one weight a function, got 0 for 0"):
        wrapped([])
    for model in (torch.nn.Linear(1, 1), "org/reward-model"):
        with pytest.raises(ValueError, match=r"a model or its name\. List it in the trainer"):
            wrapped([vowels, model])
    with pytest.raises(ValueError, match=r"num_generations must be a whole number of 1 or more, got \[0\]"):
        wrapped(size=0)
    with pytest.raises(ValueError, match=r"reweight must be a function of inputs by name, .*got 'mmr'"):
        wrapped(reweight="mmr")


def test_it_looks_like_a_reward_function():
    """What loaders of dotted paths ask about: a name, two named arguments, no coroutine."""
    reward = wrapped()
    assert reward.__name__ == async_rollout_worker.get_callable_name(reward) == "adjusted"
    assert [*inspect.signature(reward).parameters][:2] == ["prompts", "completions"]
    assert not async_rollout_worker.is_async_callable(wrapped(coroutine))


def test_a_size_that_is_half_the_trainers_is_warned_of():
    with pytest.warns(UserWarning, match="num_generations is 2, but every prompt has 4 completions or more"):
        wrapped(size=2)(MESSAGES, WORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrapped(size=4)(MESSAGES, WORDS)


EMBED = NgramEmbedder()
SAME = {
    "numpy": lambda texts: EMBED(texts).numpy(),
    "lists": lambda texts: EMBED(texts).tolist(),
    "float64": lambda texts: EMBED(texts).double(),
    "with a gradient": lambda texts: EMBED(texts).requires_grad_() * 1.0,
    "that empties its list": lambda texts: (EMBED(texts), texts.clear())[0],
}
BROKEN = {
    "4 rows": lambda texts: EMBED(texts)[:4],
    "transposed": lambda texts: EMBED(texts).T.contiguous(),
    "one row": lambda texts: EMBED(texts)[0],
    "in groups": lambda texts: EMBED(texts).view(2, 4, -1),
    "NaN": lambda texts: EMBED(texts) * float("nan"),
    "infinity": lambda texts: EMBED(texts) / 0,
    "ragged lists": lambda texts: [[1.0] * (1 + place) for place in range(len(texts))],
    "nothing": lambda texts: None,
}


def with_embedder(embedder, reweight=mmr):
    return DiverseReward(vowels, reweight=reweight, embedder=embedder, num_generations=4)


@pytest.mark.parametrize("name", SAME)
def test_an_embedder_of_another_form_is_the_same(name):
    assert with_embedder(SAME[name])(MESSAGES, WORDS) == pytest.approx(wrapped()(MESSAGES, WORDS), abs=1e-6)


@pytest.mark.parametrize("name", BROKEN)
def test_what_an_embedder_must_not_return_is_named(name):
    with pytest.raises(ValueError, match="Embedder '<lambda>' must return"):
        with_embedder(BROKEN[name])(MESSAGES, WORDS)


@pytest.mark.parametrize(
    "broken",
    [
        lambda rewards, _: rewards.mean(1, keepdim=True),
        lambda rewards, _: rewards / (rewards - rewards),
        lambda rewards, _: rewards.flatten(),
        lambda rewards, _: rewards.nan_to_num(0.0),
    ],
)
def test_what_a_reweighter_must_not_return_is_named(broken):
    reward = DiverseReward(some_unscored, reweight=broken, embedder=NgramEmbedder(), num_generations=4)
    with pytest.raises(ValueError, match="Reweighter '<lambda>' must return"):
        reward(MESSAGES, WORDS)


def test_a_reweighter_that_writes_into_what_it_gets_changes_nothing_else():
    def spoil(rewards, similarity):
        adjusted = mmr(rewards, similarity)
        rewards.zero_()
        similarity.zero_()
        return adjusted

    metrics, plain = {}, {}
    for into, reweight in ((metrics, spoil), (plain, lambda rewards, similarity: mmr(rewards, similarity))):
        with_embedder(NgramEmbedder(), reweight)(MESSAGES, WORDS, log_metric=into.__setitem__)
    assert metrics == plain and metrics["rewards/raw/mean"] > 0
