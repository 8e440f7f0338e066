"""manypaths.verl in verl itself: its trainer, its advantages, Ray and TransferQueue, on the CPU."""

import functools
import inspect
import itertools
import math

import pytest
import reference
import torch
from private_names import gone
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.trainer.ppo.v1.trainer_base import KVBatchMeta
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from manypaths.completion_inputs import CompletionInputs
from manypaths.embed import NgramEmbedder
from manypaths.methods import REWEIGHTERS, dra, mmr
from manypaths.verl import DiversePPOTrainer, adjusted_by_uid, last_outputs, logged
from manypaths.verl_settings import GROUPED, check

# (uid, session, output): text, score; groups of 4, 2, 1 and 3, in no order
ANSWERS = {
    ("a", 0, 0): ("two plus two is 4", 1.0),
    ("b", 0, 0): ("no idea", 0.0),
    ("a", 1, 0): ("two plus two is 4!", 1.0),
    ("c", 0, 0): ("alone", 0.5),
    ("d", 0, 0): ("x = 3", 0.25),
    ("a", 2, 0): ("count: 1 2 3 4, so 4", 1.0),
    ("d", 1, 0): ("x = 3", 0.75),
    ("b", 1, 0): ("the answer is 7", 1.0),
    ("a", 3, 0): ("it is 5", 0.0),
    ("d", 2, 0): ("draw a line and read it off", 0.75),
}
numbers = itertools.count()


def put(queue, tokenizer, answers):
    """Answers into the TransferQueue, with the fields that verl's agent loop writes -> the batch."""
    run = next(numbers)
    keys, fields, tags = [], [], []
    for (uid, session, output), (text, score) in answers.items():
        ids = torch.tensor(tokenizer(text)["input_ids"] + [tokenizer.eos_token_id])
        rm_scores = torch.zeros(len(ids))
        rm_scores[-1] = score
        prompt = torch.tensor([1, 2, 3])
        keys.append(f"{uid}{run}_{session}_{output}")
        fields.append(
            {
                "uid": f"{uid}{run}",
                "prompts": prompt,
                "responses": ids,
                "input_ids": torch.cat([prompt, ids]),
                "response_mask": torch.ones_like(ids),
                "rm_scores": rm_scores,
                "old_log_probs": torch.full((len(ids),), -1.0),
            }
        )
        tags.append({"status": "success", "seq_len": len(ids) + 3})
    queue.kv_batch_put(keys=keys, partition_id="train", fields=list_of_dict_to_tensordict(fields), tags=tags)
    return KVBatchMeta(partition_id="train", keys=keys, tags=tags)


def advantages(queue, trainer, batch):
    """What the trainer writes for each row: its advantage (the same at all tokens), then the metrics."""
    metrics = {}
    trainer._compute_advantage(batch, metrics)
    columns = queue.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["advantages", "rm_scores"])
    rows = columns["advantages"].unbind()
    assert all((row == row[0]).all() for row in rows)
    return torch.stack([row[0] for row in rows]), metrics, [row.sum().item() for row in columns["rm_scores"].unbind()]


def similarities(texts):
    rows = [[x.item() for x in row] for row in NgramEmbedder()(texts)]
    return [[sum(x * y for x, y in zip(a, b, strict=True)) for b in rows] for a in rows]


def expected(method, answers, std=True):
    """Adjusted scores and verl's GRPO advantages, by the naive loops."""
    adjusted, advantage = {}, {}
    for uid in {key[0] for key in answers}:
        group = {key: answer for key, answer in answers.items() if key[0] == uid}
        texts, scores = zip(*group.values(), strict=True)
        reweighted = method(list(scores), similarities(list(texts)))
        mean = sum(reweighted) / len(reweighted) if len(reweighted) > 1 else 0.0
        spread = (
            math.sqrt(sum((x - mean) ** 2 for x in reweighted) / (len(reweighted) - 1)) if len(reweighted) > 1 else 1.0
        )
        for key, value in zip(group, reweighted, strict=True):
            adjusted[key], advantage[key] = value, (value - mean) / ((spread + 1e-6) if std else 1.0)
    order = list(answers)
    return [torch.tensor([values[key] for key in order]) for values in (adjusted, advantage)]


@pytest.mark.parametrize(
    ("name", "parameters"), [("_compute_advantage", ["batch", "metrics"]), ("_build_replay_buffer", [])]
)
def test_methods_of_verls_trainer_have_the_same_parameters(name, parameters):
    method = getattr(PPOTrainerSync, name, None)
    assert method is not None and list(inspect.signature(method).parameters) == ["self", *parameters], gone(name)


def test_the_replay_buffer_is_selected_by_the_trainer_mode():
    assert "self.trainer_mode" in inspect.getsource(PPOTrainerSync._build_replay_buffer), gone("_build_replay_buffer")


@pytest.mark.parametrize("std", [True, False], ids=["grpo", "dr-grpo"])
@pytest.mark.parametrize(
    ("method", "options", "naive"),
    [
        ("mmr", [], reference.mmr),
        ("mmr", ["+diversity.options.lam=0.7"], functools.partial(reference.mmr, lam=0.7)),
        ("dra", [], reference.dra),
    ],
    ids=["mmr", "mmr-0.7", "dra"],
)
def test_advantages_are_the_closed_form_on_ragged_groups(queue, trainer, tokenizer, method, options, naive, std):
    ours = trainer(f"+diversity.method={method}", f"algorithm.norm_adv_by_std_in_grpo={std}", *options)
    actual, metrics, scores = advantages(queue, ours, put(queue, tokenizer, ANSWERS))
    adjusted, advantage = expected(naive, ANSWERS, std)
    torch.testing.assert_close(actual, advantage, rtol=1e-5, atol=1e-5)
    raw = torch.tensor([score for _, score in ANSWERS.values()])
    assert scores == raw.tolist(), "the scores that verl logs and dumps are to stay raw"
    assert metrics["diversity/raw_reward"] == pytest.approx(raw.mean().item())
    assert metrics["diversity/adjusted_reward"] == pytest.approx(adjusted.mean().item(), rel=1e-5)
    assert 0 < metrics["diversity/share"] < 1 and metrics["timing_s/diversity"] > 0


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["+diversity.method=null"],
        ["+diversity.embedder=ngram"],
        ["+diversity.method=mmr", "+diversity.options.lam=1"],
    ],
    ids=["no key", "no method", "measured", "identity"],
)
@pytest.mark.parametrize("std", [True, False], ids=["grpo", "dr-grpo"])
def test_without_reweighting_it_is_verl_to_the_last_bit(queue, trainer, tokenizer, settings, std):
    norm = f"algorithm.norm_adv_by_std_in_grpo={std}"
    batch = put(queue, tokenizer, ANSWERS)
    own, nothing, _ = advantages(queue, trainer("trainer.v1.trainer_mode=sync", norm, kind=PPOTrainerSync), batch)
    actual, metrics, _ = advantages(queue, trainer(*settings, norm), batch)
    assert torch.equal(actual, own)
    assert nothing == {} and ("diversity/similarity" in metrics) == ("ngram" in str(settings) or "mmr" in str(settings))


@pytest.mark.parametrize("method", ["mmr", "dra"])
def test_rows_may_come_in_any_order(queue, trainer, tokenizer, method):
    ours = trainer(f"+diversity.method={method}")
    actual, metrics, _ = advantages(queue, ours, put(queue, tokenizer, ANSWERS))
    order = torch.randperm(len(ANSWERS), generator=torch.Generator().manual_seed(3)).tolist()
    shuffled = {list(ANSWERS)[row]: list(ANSWERS.values())[row] for row in order}
    other, same, _ = advantages(queue, ours, put(queue, tokenizer, shuffled))
    torch.testing.assert_close(other, actual[order])
    assert {k: v for k, v in same.items() if "timing" not in k} == pytest.approx(
        {k: v for k, v in metrics.items() if "timing" not in k}, rel=1e-5
    )


def test_rows_that_fill_up_a_batch_are_not_siblings(queue, trainer, tokenizer):
    ours, batch = trainer("+diversity.method=mmr"), put(queue, tokenizer, ANSWERS)
    actual, metrics, _ = advantages(queue, ours, batch)
    filled = upsample_batch_to_divisible_size(batch, 8, tokenizer.eos_token_id)
    assert len(filled) == 16
    padded, same, _ = advantages(queue, ours, filled)
    assert torch.equal(padded, torch.cat([actual, torch.zeros(6)]))
    assert same["diversity/vendi_score"] == metrics["diversity/vendi_score"]
    assert same["diversity/raw_reward"] == metrics["diversity/raw_reward"]


@pytest.mark.parametrize("estimator", GROUPED)
def test_every_estimator_gets_the_adjusted_scores(queue, trainer, tokenizer, estimator):
    """The same advantages as verl's own trainer computes from scores that were adjusted beforehand."""
    own = [f"algorithm.adv_estimator={estimator}", "trainer.v1.trainer_mode=sync"]
    actual, _, _ = advantages(queue, trainer(own[0], "+diversity.method=dra"), put(queue, tokenizer, ANSWERS))
    adjusted, _ = expected(reference.dra, ANSWERS)
    before = {key: (text, score) for (key, (text, _)), score in zip(ANSWERS.items(), adjusted.tolist(), strict=True)}
    expected_advantages, _, _ = advantages(queue, trainer(*own, kind=PPOTrainerSync), put(queue, tokenizer, before))
    torch.testing.assert_close(actual, expected_advantages, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("estimator", ["grpo", "rloo"])
def test_the_last_output_of_a_session_stands_for_it(queue, trainer, tokenizer, estimator):
    """Earlier outputs get what it gets, and are compared with nothing."""
    several = {("a", 3, 1): ("it is 4", 1.0), **ANSWERS, ("a", 3, 0): ("let me use a tool", 1.0)}
    ours = trainer("+diversity.method=dra", f"algorithm.adv_estimator={estimator}")
    _, metrics, _ = advantages(queue, ours, put(queue, tokenizer, several))
    actual, _, _ = advantages(queue, ours, batch := put(queue, tokenizer, several))
    last = {key: answer for key, answer in several.items() if key != ("a", 3, 0)}
    adjusted, advantage = expected(reference.dra, last)
    assert metrics["diversity/adjusted_reward"] == pytest.approx(adjusted.mean().item(), rel=1e-5)
    first = batch.keys.index(next(key for key in batch.keys if key.startswith("a") and key.endswith("_3_0")))
    torch.testing.assert_close(actual[first], actual[0])
    if estimator == "grpo":
        kept = [row for row in range(len(several)) if row != first]
        torch.testing.assert_close(actual[kept], advantage, rtol=1e-5, atol=1e-5)


def test_only_what_the_model_wrote_is_compared(queue, trainer, tokenizer):
    """Tokens of tools (response_mask 0) and special tokens are not part of the text."""
    ours, batch = trainer("+diversity.method=dra"), put(queue, tokenizer, ANSWERS)
    actual, _, _ = advantages(queue, ours, batch)
    names = ["responses", "response_mask"]
    data = queue.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=names)
    tool = torch.tensor(tokenizer("<|user|>a long result of a tool")["input_ids"])
    fields = [
        {
            "responses": torch.cat([tool, ids]),
            "response_mask": torch.cat([torch.zeros_like(tool), mask]),
            "rm_scores": torch.cat([torch.zeros(len(tool)), torch.zeros(len(ids) - 1), torch.tensor([score])]),
            "old_log_probs": torch.zeros(len(tool) + len(ids)),
        }
        for ids, mask, (_, score) in zip(*(data[name].unbind() for name in names), ANSWERS.values(), strict=True)
    ]
    queue.kv_batch_put(keys=batch.keys, partition_id="train", fields=list_of_dict_to_tensordict(fields))
    ours._compute_advantage(batch, {})
    rows = queue.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["advantages"])["advantages"]
    assert torch.equal(torch.stack([row[-1] for row in rows.unbind()]), actual)
    assert all((row[: len(tool)] == 0).all() for row in rows.unbind())


def similarity_alone(method):
    return CompletionInputs(NgramEmbedder(), None, {"reweight": method}, {"reweight": ["rewards"]})


def by_inputs(rewards, correct, keys, lengths):
    same = (keys.unsqueeze(-1) == keys.unsqueeze(-2)) & ~rewards.isnan().unsqueeze(-2)
    return rewards - correct * (0.01 * lengths + 0.1 * same.sum(-1))


@pytest.mark.parametrize("name", ["text", "bigrams"])
def test_verl_gives_keys_lengths_and_what_is_correct(queue, trainer, tokenizer, monkeypatch, name):
    """By hand for each uid, whatever the order; bigrams at a threshold of 0 are the sets of words in pairs."""
    monkeypatch.setitem(REWEIGHTERS, "inputs", by_inputs)
    named = ["+diversity.method=inputs", f"+diversity.keys={name}", "+diversity.correct=score"]
    options = ["+diversity.keys_options.threshold=0.0"] * (name == "bigrams")
    ours = trainer(*named, *options, "algorithm.norm_adv_by_std_in_grpo=false")
    actual, metrics, _ = advantages(queue, ours, put(queue, tokenizer, ANSWERS))
    adjusted = {}
    for key, (text, score) in ANSWERS.items():
        same = sum(text == other for place, (other, _) in ANSWERS.items() if place[0] == key[0])
        tokens = len(tokenizer(text)["input_ids"]) + 1
        adjusted[key] = score - (score > 0.5) * (0.01 * tokens + 0.1 * same)
    for (uid, *_), value, advantage in zip(ANSWERS, adjusted.values(), actual.tolist(), strict=True):
        siblings = [other for place, other in adjusted.items() if place[0] == uid]
        mean = sum(siblings) / len(siblings) if len(siblings) > 1 else 0.0
        assert advantage == pytest.approx(value - mean, abs=1e-5)
    assert metrics["diversity/adjusted_reward"] == pytest.approx(sum(adjusted.values()) / len(adjusted), rel=1e-5)


def test_keys_make_the_similarity_of_dra(queue, trainer, tokenizer):
    """Each score is divided by how many of its uid have its text."""
    named = ["+diversity.method=dra", "+diversity.keys=text", "+diversity.embedder=keys"]
    actual, _, _ = advantages(queue, trainer(*named, "algorithm.adv_estimator=rloo"), put(queue, tokenizer, ANSWERS))
    expected = {}
    for key, (text, score) in ANSWERS.items():
        expected[key] = score / sum(text == other for place, (other, _) in ANSWERS.items() if place[0] == key[0])
    for (uid, *_), value, advantage in zip(ANSWERS, expected.values(), actual.tolist(), strict=True):
        siblings = [other for place, other in expected.items() if place[0] == uid]
        others = (sum(siblings) - value) / (len(siblings) - 1) if len(siblings) > 1 else 0.0
        assert advantage == pytest.approx(value - others, abs=1e-5)


def test_among_the_right_ones_only(queue, trainer, tokenizer):
    """The scores of the right ones of a uid keep their mean, and the others stay as they are."""
    named = ["+diversity.method=dra", "+diversity.among_correct=true", "+diversity.correct=score"]
    actual, _, _ = advantages(queue, trainer(*named, "algorithm.adv_estimator=rloo"), put(queue, tokenizer, ANSWERS))
    adjusted = {key: score for key, (_, score) in ANSWERS.items()}
    for uid in {key[0] for key in ANSWERS}:
        right = {key: answer for key, answer in ANSWERS.items() if key[0] == uid and answer[1] > 0.5}
        if len(right) > 1:
            texts, scores = zip(*right.values(), strict=True)
            shared = reference.dra(list(scores), similarities(list(texts)))
            moved = (sum(scores) - sum(shared)) / len(scores)
            adjusted |= {key: value + moved for key, value in zip(right, shared, strict=True)}
    for key, advantage in zip(ANSWERS, actual.tolist(), strict=True):
        others = [value for place, value in adjusted.items() if place[0] == key[0] and place != key]
        mean = sum(others) / len(others) if others else 0.0
        assert advantage == pytest.approx(adjusted[key] - mean, abs=1e-5)


def test_groups_without_scores_and_without_siblings():
    """NaN stays NaN and changes no other score; a completion alone keeps its score, under DRA to 1e-6."""
    embeddings = torch.nn.functional.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    raw = torch.tensor([torch.nan, 1.0, torch.nan, 0.5, 0.0, torch.nan])
    uids = ["x", "y", "x", "y", "z", "y"]
    for method, naive in ((mmr, reference.mmr), (dra, reference.dra)):
        adjusted, groups = adjusted_by_uid(
            uids, {"rewards": raw, "embeddings": embeddings}, (), similarity_alone(method), method
        )
        similarity = (embeddings[[1, 3]] @ embeddings[[1, 3]].T).tolist()
        expected = torch.tensor([torch.nan, 0, torch.nan, 0, 0.0, torch.nan])
        expected[[1, 3]] = torch.tensor(naive([1.0, 0.5], similarity))
        torch.testing.assert_close(adjusted, expected, equal_nan=True)
        assert groups.rows.tolist() == [[0, 2, -1], [1, 3, 5], [4, -1, -1]]
        assert not math.isnan(logged(groups)["diversity/share"])
    rows = {"rewards": torch.full((6,), torch.nan), "embeddings": embeddings}
    everything, groups = adjusted_by_uid(uids, rows, (), similarity_alone(mmr), mmr)
    assert everything.isnan().all() and math.isnan(logged(groups)["diversity/raw_reward"])


def test_rows_find_their_sessions():
    keys = ["a_b_0_0", "a_b_0_2", "a_b_10_0", "a_b_0_1", "pad1_0_0"]
    assert last_outputs(keys, [{}, {}, {}, {}, {"is_padding": True}]) == [1, 1, 2, 1, -1]


REFUSED = {
    "key": (["+diversity.metod=mmr"], "Unknown key diversity.metod. Did you mean 'method'?"),
    "method": (["+diversity.method=mmmr"], "Unknown diversity.method 'mmmr'. Did you mean 'mmr'?"),
    "not keys": (["+diversity=mmr"], "diversity must hold keys such as diversity.method=mmr, got 'mmr'."),
    "kind": (["+diversity.method=[mmr]"], "diversity.method must be str | None, got ['mmr']."),
    "option": (["+diversity.method=mmr", "+diversity.options.lambda=1"], "the options lam, ties, got 'lambda'"),
    "no option": (["+diversity.method=dra", "+diversity.options.rewards=1"], "the options floor, got 'rewards'"),
    "value": (["+diversity.method=mmr", "+diversity.options.lam=2"], "mmr's lam must be in [0, 1], got 2."),
    "type": (["+diversity.method=mmr", "+diversity.options.lam=x"], "{'lam': 'x'}, have a wrong"),
    "options alone": (["+diversity.options.lam=1"], ".among_correct and .keep_equal_rewards must come with"),
    "kept alone": (["+diversity.keep_equal_rewards=true"], "must come with diversity.method: mmr, dra"),
    "correct": (["+diversity.correct=accuracy"], "diversity.correct must be score, the only reward"),
    "no keys": (["+diversity.method=dra", "+diversity.embedder=keys"], "must come with diversity.keys"),
    "keys_options alone": (["+diversity.keys_options.threshold=0"], "keys_options must come with diversity.keys"),
    "unknown keys": (["+diversity.method=dra", "+diversity.keys=anser"], "did you mean 'answer'"),
    "ngram": (["+diversity.embedder_options.widht=9"], "widht"),
    "model": (["+diversity.embedder=a/b", "+diversity.embedder_options.n=9"], "Embedder 'a/b'"),
    "gae": (["+diversity.method=mmr", "algorithm.adv_estimator=gae"], "that compares siblings, grpo, grpo_vec"),
    "passk": (["+diversity.method=dra", "algorithm.adv_estimator=grpo_passk"], "got 'grpo_passk'."),
    "one": (["+diversity.method=dra", "actor_rollout_ref.rollout.n=1"], "must be 2 or more with diversity.m"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_mean_nothing_are_refused(configure, case):
    overrides, sentence = REFUSED[case]
    with pytest.raises(ValueError) as raised:
        DiversePPOTrainer(configure(*overrides))
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_settings_that_are_left_out_refuse_nothing(configure):
    assert check(configure("algorithm.adv_estimator=gae", "actor_rollout_ref.rollout.n=1")).method is None
    with pytest.raises(ValueError, match="did you mean 'answer'"):
        check(configure("+diversity.keys=anser"))  # whatever uses them
    assert check(configure("+diversity.embedder=ngram", "algorithm.adv_estimator=gae")).embedder == "ngram"
    spec = check(configure("+diversity.method=mmr", "+diversity.options.lam=0.7", "+diversity.keep_equal_rewards=true"))
    assert (spec.method, spec.options, spec.keep_equal_rewards) == ("mmr", {"lam": 0.7}, True)
