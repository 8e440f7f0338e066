"""The banks of verified replay: the released package's on its recorded cases, and a naive dictionary on random ones."""

import random

import pytest
import torch
from family import FAMILY

from manypaths.keys import NO_KEY
from manypaths.trl.replay_bank import Banks, Replay, accepted, complete, own_part, replay_loss

CASES = FAMILY["methods"]["replay"]["cases"]
PROMPT = [5, 6]


def ways(banks, prompt=PROMPT):
    """The bank of a prompt as in the recorded cases: [key, tokens], by key."""
    return [[key, list(tokens)] for key, tokens in banks.contents().get(tuple(prompt), {}).items()]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_the_released_banks_and_losses(case):
    banks = Banks(case["capacity"])
    for step in case["steps"]:
        correct, keys = torch.tensor([step["correct"]], dtype=torch.float32), torch.tensor([step["keys"]])
        fits = accepted(torch.zeros_like(correct), correct, keys)[0].tolist()
        rows = zip(step["keys"], step["tokens"], fits, strict=True)
        banks.add(PROMPT, [(key, tokens) for key, tokens, right in rows if right])
        assert ways(banks) == step["bank"]
    logprobs, lengths = (torch.tensor(case[name]) for name in ("final_logprobs", "final_lengths"))
    assert lengths.tolist() == [len(tokens) for tokens in banks.take().completions]
    torch.testing.assert_close(replay_loss(logprobs, lengths), torch.tensor(case["loss"]))
    assert Replay(weight=0.1).factor(case["group_size"]) == pytest.approx(case["weight"])


def test_the_worked_numbers():
    loss = replay_loss(torch.tensor([-2.0, -6.0]), torch.tensor([4, 6]))
    assert loss.item() == 0.75 and Replay(weight=0.1).factor(16) == pytest.approx(0.00586, abs=5e-6)


def groups_of(draw, count):
    """A stream of groups: (prompt, [(key, tokens)]) with few prompts, keys and tokens, so that everything collides."""
    for _ in range(count):
        prompt = tuple(draw.choices((1, 2, 70000), k=draw.randint(1, 2)))
        keys = [draw.choice((-(2**63), -5, 0, 3, 4, 2**63 - 1)) for _ in range(draw.randint(0, 5))]
        yield prompt, [(key, tuple(draw.choices((1, 2, 151643), k=draw.randint(1, 3)))) for key in keys]


def naive(stream, capacity):
    """One pair at a time: a pair enters if its key is new, with the smallest tokens of its group."""
    banks = {}
    for prompt, found in stream:
        before = dict(banks.get(prompt, {}))
        for key, tokens in sorted(found):
            bank = banks.setdefault(prompt, {})
            if key not in before and key not in bank and len(bank) < capacity:
                bank[key] = tokens
    return banks


@pytest.mark.parametrize("capacity", [1, 2, 3, 16])
def test_banks_equal_a_naive_dictionary(capacity):
    draw = random.Random(capacity)
    for _ in range(50):
        stream, banks = list(groups_of(draw, 30)), Banks(capacity)
        previous = {}
        for seen, (prompt, found) in enumerate(stream, 1):
            banks.add(prompt, found)
            contents = banks.contents()
            assert contents == naive(stream[:seen], capacity)
            assert all(len(bank) <= capacity for bank in contents.values())
            assert all(bank.items() <= contents[prompt].items() for prompt, bank in previous.items())  # all stay
            previous = contents
        assert len(banks) == len(previous) and banks.ways == sum(map(len, previous.values()))


def test_the_order_within_a_group_changes_nothing():
    draw = random.Random(3)
    for _ in range(100):
        stream = list(groups_of(draw, 8))
        first, second = Banks(3), Banks(3)
        for prompt, found in stream:
            first.add(prompt, found)
            second.add(prompt, draw.sample(found, len(found)))
        assert first.contents() == second.contents()


def test_banks_take_turns_and_a_new_one_comes_at_the_end_of_the_round():
    banks = Banks(2)
    assert banks.take() is None
    banks.add([1], [])
    assert banks.take() is None and len(banks) == 0  # a prompt without a right completion has no bank
    for prompt in (3, 1, 2):
        banks.add([prompt], [(7, [prompt])])
    taken = [banks.take().prompt[0] for _ in range(4)]
    banks.add([0], [(7, [0])])
    taken += [banks.take().prompt[0] for _ in range(7)]
    banks.add([9], [(7, [9])])
    taken += [banks.take().prompt[0] for _ in range(2)]
    assert taken == [3, 1, 2, 3, 1, 2, 0, 3, 1, 2, 0, 9, 3]


def test_a_bank_is_taken_in_the_order_of_its_keys():
    banks = Banks(3)
    banks.add(PROMPT, [(4, [1, 2])])
    banks.add(PROMPT, [(-9, [3]), (5, [4])])
    assert [list(tokens) for tokens in banks.take().completions] == [[3], [1, 2], [4]]


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_checkpoint_holds_banks_and_turn(count, tmp_path):
    draw, banks = random.Random(count), Banks(3)
    for prompt, found in groups_of(draw, count):
        banks.add(prompt, found)
        banks.take()
    torch.save(banks.state_dict(), tmp_path / "replay.pt")
    again = Banks(3)
    again.load_state_dict(torch.load(tmp_path / "replay.pt", weights_only=True))
    more = list(groups_of(draw, 20))
    for prompt, found in more:
        assert list(again.contents().items()) == list(banks.contents().items())
        assert again.take() == banks.take()
        banks.add(prompt, found)
        again.add(prompt, found)
    with pytest.raises(ValueError, match="must be 3, that of the banks in the checkpoint, got 4"):
        Banks(4).load_state_dict(banks.state_dict())


def test_a_checkpoint_takes_4_bytes_a_token(tmp_path):
    banks = Banks(16)
    for prompt in range(50):
        banks.add([prompt] * 100, [(key, [key] * 200) for key in range(16)])
    torch.save(banks.state_dict(), tmp_path / "replay.pt")
    assert 4 * 50 * (100 + 16 * 200) < (tmp_path / "replay.pt").stat().st_size < 4.5 * 50 * (100 + 16 * 200)


def test_only_what_the_verifier_accepted_and_a_key_tells_apart_is_a_way():
    nan = torch.nan
    rewards = torch.tensor([[1.0, 1.0, 1.0, nan, 1.0, -2.0, nan]])
    correct = torch.tensor([[1.0, 0.0, nan, 1.0, 1.0, 1.0, nan]])
    keys = torch.tensor([[3, 3, 3, 3, NO_KEY, 4, 3]])
    assert accepted(rewards, correct, keys).tolist() == [[True, False, False, False, False, True, False]]


def test_a_completion_is_ended_by_the_model_within_the_limit_after_a_token_of_its_own():
    ends = [9, 8]
    right = [[1, 9], [1, 2, 8], [9, 1, 9]]
    wrong = [[], [9], [8, 9], [1], [1, 9, 2], [1, 2, 3, 9]]
    assert all(complete(tokens, ends, 3) for tokens in right)
    assert not any(complete(tokens, ends, 3) for tokens in wrong)


def test_every_way_is_replayed_once_in_an_update():
    for ways_, steps, processes in [(w, s, p) for w in range(1, 18) for s in range(1, 5) for p in range(1, 5)]:
        largest, replayed = -(-ways_ // (steps * processes)), []
        for step in range(steps):
            parts = [own_part(ways_, step, steps, process, processes) for process in range(processes)]
            assert (None in parts) == (set(parts) == {None})  # all processes take part in a pass, or none
            replayed += [way for part in parts if part is not None for way in part]
            assert all(part is None or len(part) <= largest for part in parts)
        assert replayed == list(range(ways_))


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), True, "0.1", None])
def test_weights_above_0(weight):
    with pytest.raises(ValueError, match="The weight of replay must be a number above 0"):
        Replay(weight=weight)


@pytest.mark.parametrize("capacity", [0, -1, 2.0, True, None])
def test_capacities_of_1_or_more(capacity):
    with pytest.raises(ValueError, match="The capacity of replay must be a whole number of 1 or more"):
        Replay(capacity=capacity)
