"""The seam in TRL's trainer with all that it can sample with: tools, an environment, a rollout function, images.

Generation is scripted where a tiny random model would not call a tool; everything else is TRL's. Each test compares the
advantages with the equations as loops, on the texts and raw rewards of the test.
"""

import json
from contextlib import nullcontext
from functools import partial

import pytest
import reference
import torch
from datasets import Dataset
from PIL import Image
from test_trl import length, trainer_of, vowels
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from trl import GRPOTrainer
from trl.chat_template_utils import add_response_schema, qwen3_chat_template
from trl.rewards import get_soft_overlong_punishment

from manypaths import mmr
from manypaths.embed import NgramEmbedder
from manypaths.messages import text_of
from manypaths.rewards import repetition, reward, think
from manypaths.trl import DiverseGRPOTrainer
from manypaths.wrapper import DiverseReward

OURS = {"reweight": mmr, "embedder": NgramEmbedder()}
MMR = partial(reference.mmr, ties="diverse")
TOOL_OUTPUT = "The sum is fifteen, fifteen, fifteen, fifteen."
VISION_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_of_bytes(template, *special):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    whole = Tokenizer(models.BPE(vocab={letter: id for id, letter in enumerate(letters)}, merges=[]))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.decoder = decoders.ByteLevel()
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "model_max_length": 4096}
    more = ["<|im_start|>", *special]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=whole, extra_special_tokens=more, clean_up_tokenization_spaces=False, **named
    )
    tokenizer.chat_template = template
    return tokenizer


def sizes(tokenizer):
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.5,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory):
    """A tiny Llama with Qwen3's chat template, from which TRL parses reasoning and tool calls."""
    folder, tokenizer = tmp_path_factory.mktemp("chat"), tokenizer_of_bytes(qwen3_chat_template)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(LlamaConfig(**sizes(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vision_model(tmp_path_factory):
    """A tiny Llava for images of 16 x 16 pixels in four patches, without torchvision."""
    folder, tokenizer = tmp_path_factory.mktemp("vision"), tokenizer_of_bytes(VISION_TEMPLATE, "<image>")
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8
    )
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**sizes(tokenizer)),
        image_token_index=image_token,
        image_seq_length=4,
        vision_feature_layer=-1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlavaForConditionalGeneration(config).save_pretrained(folder)
    small = {"height": 16, "width": 16}
    images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=small)
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VISION_TEMPLATE,
    ).save_pretrained(folder)
    return folder


def scripted(cls, turns):
    """A trainer class whose model writes `turns`: for each turn, the text of each completion that is not finished."""

    class Scripted(cls):
        turn = 0

        def _generate_single_turn(self, prompt_ids, *more, **named):
            texts, self.turn = turns[self.turn % len(turns)], self.turn + 1
            assert len(texts) == len(prompt_ids)
            return [self._tokenizer(text + "<|im_end|>")["input_ids"] for text in texts], None

    return Scripted


def trainer(model, out, cls=DiverseGRPOTrainer, rewards=vowels, data=None, **settings):
    settings = {
        "max_completion_length": 512,
        "steps": 1,
        **(OURS if issubclass(cls, DiverseGRPOTrainer) else {}),
        **settings,
    }
    ours = trainer_of(model, out, cls, rewards, **settings)
    if data is not None:
        ours.train_dataset = data
    return ours


def chat(count=2):
    return Dataset.from_list([{"prompt": [{"role": "user", "content": f"7 + {8 + row}?"}]} for row in range(count)])


def closed_form(texts, scores, oracle):
    """The advantages of groups of four, by the loops."""
    advantages = []
    for start in range(0, len(texts), 4):
        rows = NgramEmbedder()(texts[start : start + 4]).double()
        advantages += reference.advantages(oracle(scores[start : start + 4], (rows @ rows.T).tolist()))
    return torch.tensor(advantages)


def check(trainer, texts, scores):
    """Advantages are those of the adjusted rewards, and differ from those of the raw rewards."""
    advantages = torch.tensor(list(trainer._logs["advantages"]))
    torch.testing.assert_close(advantages, closed_form(texts, scores, MMR), rtol=1e-4, atol=1e-4)
    plain = closed_form(texts, scores, lambda scores, _: scores)
    assert (advantages - plain).abs().max() > 0.005


def add(a: int, b: int) -> str:
    """Add two numbers.

    Args:
        a: One number.
        b: The other number.
    """
    return TOOL_OUTPUT


THOUGHTS = ["count up", "seven and eight", "count up", "double seven, one more", "use a tool", "zzz", "use a tool", "!"]
CALLS = [
    f'<tool_call>\n{{"name": "add", "arguments": {{"a": 7, "b": {8 + place}}}}}\n</tool_call>' for place in range(8)
]
CALLED = [f"<think>\n{thought}\n</think>\n\n{call}" for thought, call in zip(THOUGHTS, CALLS, strict=True)]
PLAIN = ["It is fifteen."] * 8
ANSWERED = [*PLAIN[:3], f"<think>\nso\n</think>\n\n{PLAIN[3]}", *PLAIN[4:]]


def points(completions, **_):
    return [float(len(text_of(completion)) % 5) for completion in completions]


def test_with_tools_the_models_own_text_is_compared_and_rewarded(chat_model, tmp_path):
    """Reasoning and tool calls count; the tool's output counts neither in the similarity nor in rewards of tokens."""
    seen = {}

    def curious(completion_ids, tool_mask, **_):
        pairs = zip(completion_ids, tool_mask, strict=True)
        own = [[id for id, is_own in zip(ids, mask, strict=True) if is_own] for ids, mask in pairs]
        seen.update(all=completion_ids, own=own)
        return [None] * len(own)

    rewards = [points, think, repetition, reward("overlong", 250), curious]
    cls = scripted(DiverseGRPOTrainer, [CALLED, ANSWERED])
    ours = trainer(chat_model, tmp_path, cls, rewards, chat(), tools=[add], reward_weights=[1.0, 0.0, 0.5, 0.0, 1.0])
    ours.train()
    completions, logged = list(ours._logs["completion"]), ours._logs["rewards"]
    assert [[message["role"] for message in completion] for completion in completions] == [
        ["assistant", "tool", "assistant"]
    ] * 8
    texts = [text_of(completion) for completion in completions]
    for text, thought in zip(texts, THOUGHTS, strict=True):
        assert thought in text and 'add({"a": 7' in text and "It is fifteen." in text and TOOL_OUTPUT not in text
    words = [ours._tokenizer.decode(ids) for ids in seen["own"]]
    assert words == [f"{call}<|im_end|>{answer}<|im_end|>" for call, answer in zip(CALLED, ANSWERED, strict=True)]
    assert len(seen["all"]) == 8 and all(TOOL_OUTPUT in ours._tokenizer.decode(ids) for ids in seen["all"])
    assert list(logged["think"]) == [
        float("so" in answer) for answer in ANSWERED
    ]  # 1 only with reasoning in both turns
    assert list(logged["overlong"]) == pytest.approx(get_soft_overlong_punishment(250, 50)(seen["own"]))
    assert list(logged["overlong"]) != pytest.approx(get_soft_overlong_punishment(250, 50)(seen["all"]))
    assert list(logged["repetition"]) == pytest.approx(repetition(seen["own"])) != repetition(seen["all"])
    scores = [first + 0.5 * second for first, second in zip(logged["points"], logged["repetition"], strict=True)]
    check(ours, texts, scores)
    similarity = ours.groups.similarity[0]
    assert similarity[0, 2] > similarity[0, 1] + 0.05  # all answers are equal; the thoughts of 0 and 2 are equal too


def test_reasoning_that_a_response_template_removes_is_compared_too(chat_model, tmp_path):
    """With a response template TRL removes the reasoning from the content of each completion."""
    texts = [f"<think>\n{thought}\n</think>\n\n{answer}" for thought, answer in zip(THOUGHTS, PLAIN, strict=True)]
    texts[1] = PLAIN[1]
    cls = scripted(DiverseGRPOTrainer, [texts])
    ours = trainer(chat_model, tmp_path, cls, [points, think], chat())
    add_response_schema(ours.processing_class)
    ours.train()
    completions, rewards = list(ours._logs["completion"]), ours._logs["rewards"]
    assert [messages[0]["content"] for messages in completions] == PLAIN
    assert list(rewards["think"]) == [1.0, 0.0, *[1.0] * 6]
    assert ours.groups.similarity[1, 0, 2] > ours.groups.similarity[1, 0, 1] + 0.05
    check(ours, texts, [score + reasoned for score, reasoned in zip(rewards["points"], rewards["think"], strict=True)])


def test_with_tools_a_diverse_reward_compares_the_same(chat_model, tmp_path):
    """TRL's own trainer does not pass tool_mask: the tokens of tools count, with a warning."""
    wrapped = DiverseReward([points, repetition], num_generations=4, reward_weights=[1.0, 0.0], **OURS)
    ours = trainer(chat_model, tmp_path, scripted(GRPOTrainer, [CALLED, ANSWERED]), wrapped, chat(), tools=[add])
    with pytest.warns(UserWarning, match="'repetition' counts the tokens of tools' answers as the model's"):
        ours.train()
    completions = list(ours._logs["completion"])
    check(ours, [text_of(messages) for messages in completions], points(completions))


def by_inputs(rewards, keys, lengths):
    return rewards + 0.1 * keys - 0.01 * lengths


@pytest.mark.parametrize("wrapping", [False, True])
def test_with_tools_lengths_are_of_the_models_own_tokens_and_keys_of_its_texts(chat_model, tmp_path, wrapping):
    """Keys get whole groups, with the texts of the prompts, which are chat messages."""
    calls = []

    def places(completions, problems, size):
        calls.append((completions, problems, size))
        return list(range(size)) * (len(completions) // size)

    methods, cls = {"reweight": by_inputs, "keys": places}, GRPOTrainer if wrapping else DiverseGRPOTrainer
    reward = DiverseReward(points, num_generations=4, **methods) if wrapping else points
    ours = {} if wrapping else {"embedder": None, **methods}
    own_trainer = trainer(chat_model, tmp_path, scripted(cls, [CALLED, ANSWERED]), reward, chat(), tools=[add], **ours)
    with pytest.warns(UserWarning, match="'adjusted' counts the tokens of tools") if wrapping else nullcontext():
        own_trainer.train()
    completions = list(own_trainer._logs["completion"])
    texts = [text_of(messages) for messages in completions]
    assert calls == [(texts, ["7 + 8?"] * 4 + ["7 + 9?"] * 4, 4)]
    if not wrapping:
        tokenizer = own_trainer._tokenizer
        own = [f"{call}<|im_end|>{answer}<|im_end|>" for call, answer in zip(CALLED, ANSWERED, strict=True)]
        lengths = [len(tokenizer(text)["input_ids"]) for text in own]
        assert own_trainer.groups.inputs["lengths"].flatten().tolist() == lengths
        raw = torch.tensor(points(completions)).view(2, 4)
        torch.testing.assert_close(
            own_trainer.groups.adjusted, by_inputs(raw, torch.arange(4), torch.tensor(lengths).view(2, 4))
        )


class Sums:
    """An environment with a tool, an observation and a reward of its own."""

    def reset(self, **row):
        self.tries = []
        return f" Row {row['number']}."

    def guess(self, number: int) -> str:
        """Guess a sum.

        Args:
            number: The guess.
        """
        self.tries.append(number)
        return "too low" if number < 15 else "right"

    def get_reward(self) -> float:
        return float(self.tries[-1] % 4)


@pytest.mark.filterwarnings("ignore:You are using 'environment_factory'")
def test_with_an_environment_its_reward_is_part_of_the_raw_one(chat_model, tmp_path):
    """TRL appends the environment's column to the user's, and we append ours to both. Prompts differ within a group."""
    calls = [
        f'<tool_call>\n{{"name": "guess", "arguments": {{"number": {9 + place}}}}}\n</tool_call>' for place in range(8)
    ]
    data = chat().add_column("number", [1, 2])
    cls = scripted(DiverseGRPOTrainer, [calls, PLAIN])
    ours = trainer(chat_model, tmp_path, cls, points, data, environment_factory=Sums)
    ours.train()
    assert list(ours._logs["rewards"]["Sums"]) == [float((9 + place) % 4) for place in range(8)]
    texts = [text_of(messages) for messages in ours._logs["completion"]]
    assert texts == [f"guess({json.dumps({'number': 9 + place})})\nIt is fifteen." for place in range(8)]
    rewards = ours._logs["rewards"]
    check(ours, texts, [score + summed for score, summed in zip(rewards["points"], rewards["Sums"], strict=True)])


class EachItsOwn(Sums):
    """An environment without a reward, whose observation differs in each rollout."""

    get_reward = None

    def reset(self, **row):
        super().reset(**row)
        return f" You are {id(self)}."


@pytest.mark.filterwarnings("ignore:You are using 'environment_factory'")
def test_a_diverse_reward_groups_by_the_trainer_where_prompts_differ_within_a_group(chat_model, tmp_path):
    calls = [
        f'<tool_call>\n{{"name": "guess", "arguments": {{"number": {place**5}}}}}\n</tool_call>' for place in range(8)
    ]
    wrapped = DiverseReward(points, num_generations=4, **OURS)
    data, cls = chat().add_column("number", [1, 2]), scripted(GRPOTrainer, [calls, PLAIN])
    ours = trainer(chat_model, tmp_path, cls, wrapped, data, environment_factory=EachItsOwn)
    ours.train()
    assert len({str(prompt) for prompt in ours._logs["prompt"]}) == 8
    completions = list(ours._logs["completion"])
    check(ours, [text_of(messages) for messages in completions], points(completions))


ROLLED = ["up and down", "down", "up and down", "left, then right", "b", "bb", "bbb", "now what"]


@pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")
def test_with_a_rollout_function_its_columns_and_mask_reach_the_rewards(chat_model, tmp_path):
    def rollout(prompts, trainer):
        """Completions of a text and two tokens of an environment, which are masked."""
        ids = [trainer._tokenizer(text)["input_ids"] for text in ROLLED]
        world = trainer._tokenizer(" #")["input_ids"]
        return {
            "prompt_ids": [trainer._tokenizer(prompt)["input_ids"] for prompt in prompts],
            "completion_ids": [tokens + world for tokens in ids],
            "logprobs": [[0.0] * (len(tokens) + len(world)) for tokens in ids],
            "env_mask": [[1] * len(tokens) + [0] * len(world) for tokens in ids],
            "turns": list(range(8)),
        }

    def turned(completion_ids, turns, tool_mask, **_):
        assert [sum(mask) + 2 == len(mask) == len(ids) for mask, ids in zip(tool_mask, completion_ids, strict=True)]
        return [float(turn % 3) for turn in turns]

    ours = trainer(chat_model, tmp_path, DiverseGRPOTrainer, [turned, reward("overlong", 10)], rollout_func=rollout)
    ours.train()
    texts = list(ours._logs["completion"])
    assert texts == [text + " #" for text in ROLLED]
    lengths = [[0] * len(text) for text in ROLLED]  # a token is a byte
    short = get_soft_overlong_punishment(10, 2)(lengths)
    assert list(ours._logs["rewards"]["overlong"]) == short
    check(ours, texts, [place % 3 + penalty for place, penalty in enumerate(short)])


def image(number):
    return Image.new("RGB", (16, 16), (30 * number, 255 - 30 * number, 99))


def with_images(count=2):
    """One question about many images, as in counting tasks."""
    question = [{"role": "user", "content": "How many?"}]
    return Dataset.from_list([{"prompt": question, "image": image(row), "answer": str(row)} for row in range(count)])


def test_with_images_log_probabilities_are_trls_own_or_refused(vision_model, tmp_path):
    named = {"data": with_images(), "reweight": lambda rewards, logprobs: rewards + logprobs, "embedder": None}
    with pytest.raises(ValueError, match=r"logprobs must have text alone .* got images\. Set num_iterations=2"):
        trainer(vision_model, tmp_path, rewards=of_messages, **named).train()
    ours = trainer(vision_model, tmp_path, rewards=of_messages, num_iterations=2, **named)
    ours.train()
    assert (ours.groups.inputs["logprobs"] < 0).all()


@pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")
def test_with_images_of_a_rollout_function_log_probabilities_are_refused_too(vision_model, tmp_path):
    def rollout(prompts, trainer):
        ids = [[1, 2] for _ in prompts]
        return {"prompt_ids": ids, "completion_ids": ids, "logprobs": None}

    named = {"data": with_images(), "reweight": lambda rewards, logprobs: rewards + logprobs, "embedder": None}
    with pytest.raises(ValueError, match="logprobs must have text alone"):
        trainer(vision_model, tmp_path, rewards=of_messages, rollout_func=rollout, **named).train()


def of_messages(completions, **_):
    return vowels([text_of(messages) for messages in completions])


@pytest.mark.parametrize("where", ["a column", "the messages"])
def test_with_images_the_update_sees_them(vision_model, tmp_path, where):
    data = with_images()
    if where == "the messages":
        data = data.remove_columns("image").with_transform(
            lambda batch: {
                "prompt": [
                    [
                        {
                            "role": "user",
                            "content": [{"type": "image", "image": image(int(answer))}, {"type": "text", "text": "?"}],
                        }
                    ]
                    for answer in batch["answer"]
                ]
            }
        )
    ours = trainer(vision_model, tmp_path, DiverseGRPOTrainer, of_messages, data, max_completion_length=12)
    seen, compute = [], ours._compute_loss

    def watched(model, inputs):
        seen.append(tuple(inputs["pixel_values"].shape))
        return compute(model, inputs)

    ours._compute_loss = watched
    ours.train()
    assert seen == [(8, 3, 16, 16)]
    texts = [text_of(messages) for messages in ours._logs["completion"]]
    check(ours, texts, vowels(texts))


def test_with_images_a_diverse_reward_gives_the_same_parameters(vision_model, tmp_path):
    """One question with two images makes two groups, for DiverseReward too."""
    wrapped = DiverseReward(of_messages, num_generations=4, **OURS)
    named = {"data": with_images(), "max_completion_length": 12, "scale_rewards": "none"}
    ours = trainer(vision_model, tmp_path, DiverseGRPOTrainer, of_messages, **named)
    ours.train()
    plain = trainer(vision_model, tmp_path, GRPOTrainer, wrapped, **named)
    plain.train()
    torch.testing.assert_close(list(plain._logs["advantages"]), list(ours._logs["advantages"]), rtol=1e-5, atol=1e-6)
    for weight, expected in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(weight, expected)


async def slow_length(completions, **_):
    return length(completions)


@pytest.mark.parametrize("cls", [DiverseGRPOTrainer, GRPOTrainer])
def test_coroutine_rewards_are_summed_with_the_others(tiny_model, tmp_path, cls):
    rewards = [slow_length, vowels]
    named = {"reward_weights": [2.0, 1.0]}
    if cls is GRPOTrainer:
        rewards, named = DiverseReward(rewards, num_generations=4, **OURS, **named), {}
    ours = trainer(tiny_model, tmp_path, cls, rewards, max_completion_length=8, **named)
    ours.train()
    texts = list(ours._logs["completion"])
    check(
        ours,
        texts,
        [2 * characters + vowel_share for characters, vowel_share in zip(length(texts), vowels(texts), strict=True)],
    )
