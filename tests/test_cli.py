"""The command line: a mistake is one sentence and exit code 2, before any model is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from manypaths import __version__, checkpoint, cli, recipe
from manypaths.cli import main
from manypaths.files import content_of
from manypaths.methods.bind import bind_advantage, bind_reweight
from manypaths.methods.inputs import inputs_of

QUICK = {
    "trainer.per_device_train_batch_size": 4,
    "trainer.num_generations": 4,
    "trainer.max_steps": 1,
    "trainer.use_cpu": "true",
    "trainer.bf16": "false",
    "embedder.name": "ngram",
    "problems.options.count": 8,
    "evaluation.problems.options.count": 4,
}
RECIPES = ("grpo", "mmr", "arithmetic")


@pytest.fixture(scope="session")
def unloadable(tiny_model, tmp_path_factory) -> Path:
    """A model folder that passes every check of its files, with weights that cannot be loaded."""
    folder = tmp_path_factory.mktemp("unloadable")
    for path in tiny_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="could not be loaded"):
        checkpoint.load(str(folder))
    return folder


@pytest.fixture
def complaint_of(capsys):
    """Run a command that must fail -> its one line on stderr."""

    def run(*words) -> str:
        assert main([str(word) for word in words]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"manypaths {words[0]}: ")
        assert len(err.splitlines()) == 1, err
        assert err.endswith("\n")
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture
def refused(complaint_of, unloadable, tmp_path):
    """Train with some words changed -> the one line, which would be about the weights if the model were loaded."""

    def run(*words, recipes=RECIPES, out=None) -> str:
        out = tmp_path / "run" if out is None else out
        named = QUICK | {"model.name": unloadable}
        err = complaint_of("train", *recipes, *(f"{key}={value}" for key, value in named.items()), *words, "--out", out)
        assert "could not be loaded" not in err
        assert not (out / "model").exists()
        assert not (out / "checkpoints").exists()
        return err

    return run


def has(text: str, *words: str) -> bool:
    missing = [word for word in words if word not in text]
    assert not missing, f"{missing} not in {text}"
    return True


def test_a_valid_recipe_passes_every_check_until_its_model_is_loaded(complaint_of, unloadable, tmp_path):
    named = QUICK | {"model.name": unloadable}
    words = [*RECIPES, *(f"{key}={value}" for key, value in named.items())]
    assert has(complaint_of("train", *words, "--out", tmp_path / "run"), "could not be loaded", str(unloadable))
    assert (tmp_path / "run" / "recipe.yaml").is_file()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainr.max_steps=1", ["'trainr'", "'trainer'"]),
        ("model.nam=x", ["'model.nam'", "'name'"]),
        ("trainer.learning_rat=1", ["'trainer.learning_rat'", "'learning_rate'"]),
        ("lora.lora_alpa=1", ["'lora.lora_alpa'", "'lora_alpha'"]),
        ("seed=one", ["seed must be int", "'one'"]),
        ("trainer.learning_rate=high", ["trainer.learning_rate must be float", "'high'"]),
        ("lora.r=many", ["lora.r must be int", "'many'"]),
        ("trainer.output_dir=elsewhere", ["trainer.output_dir", "set by the run"]),
        ("prompt={question: [}", ["not YAML"]),
        ("prompt=Solve it.", ["{question}"]),
        ("model.dtype=float17", ["model.dtype", "'float17'", "bfloat16"]),
        ("trainer.num_generations=1", ["trainer.num_generations must be 2 or more, got 1"]),
        ("trainer.num_generations=null", ["trainer.num_generations"]),
        ("trainer.num_generations=3", ["whole groups", "multiple of trainer.num_generations", "3"]),
        ("trainer.per_device_train_batch_size=0", ["trainer.per_device_train_batch_size", "1 or more"]),
        ("trainer.gradient_accumulation_steps=0", ["trainer.gradient_accumulation_steps", "1 or more"]),
        ("trainer.lr_scheduler_type=wavy", ["TRL refuses", "wavy"]),
        ("method.reweight=mrr", ["'mrr'", "'mmr'"]),
        ("method.options.lambda=1", ["'lambda'", "lam, ties"]),
        ("method.options.lam=much", ["mmr", "'much'"]),
        ("method.options.ties=odd", ["ties", "'odd'"]),
        ("rewards.acuracy=1.0", ["'acuracy'", "'accuracy'"]),
        ("rewards.os.path.gone=1.0", ["'os.path.gone'", "no attribute 'gone'"]),
        ("problems.name=svmp.json", ["'svmp.json'", "does not exist"]),
        ("problems.options.kinds=[gian]", ["gian", "gain"]),
        ("problems.options.cuont=1", ["options", "cuont"]),
        ("evaluation.problems.options.held=true", ["options", "held"]),
        ("embedder.name=package:no_such_package", ["no_such_package", "not installed"]),
        ("model.name=package:no_such_package", ["no_such_package", "not installed"]),
        ("model.name=a/b/c", ["'a/b/c'", "hub id"]),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_that_names_it(override, words, refused, tmp_path):
    assert has(refused(override), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("recipes", "words"),
    [
        (("grpo", "mrr", "arithmetic"), ["'mrr'", "'mmr'"]),
        (("grpo", "gone.yaml"), ["'gone.yaml'", "does not exist"]),
        (("grpo", "mmr"), ["no 'problems.name'"]),
    ],
)
def test_recipes_that_are_no_run_get_one_line(recipes, words, refused):
    assert has(refused(recipes=recipes), *words)


def test_a_recipe_file_that_is_not_yaml_is_one_line(refused, tmp_path):
    (tmp_path / "bad.yaml").write_text("trainer:\n  - a: [1\n")
    assert has(refused(recipes=("grpo", tmp_path / "bad.yaml")), "bad.yaml", "not YAML")


@pytest.mark.parametrize("key", ["problems", "evaluation.problems"])
@pytest.mark.parametrize(
    ("content", "overrides", "words"),
    [
        (None, [], ["does not exist"]),
        ("", [], ["empty"]),
        ('{"question": "a", "answer": 1}\n{"question"\n', [], ["not JSON", "line 2"]),
        ("[1, 2]", [], ["objects"]),
        ('{"frage": "a", "answer": 1}', [], ["frage, answer", "problem_column"]),
        ('{"question": "a", "answer": 1}', ["answer_column=gold"], ["'gold'", "question, answer"]),
        ('{"question": "", "answer": 1}', [], ["row 1"]),
    ],
)
def test_an_unusable_data_file_gets_one_line(content, overrides, words, key, refused, tmp_path):
    path = tmp_path / "own.jsonl"
    if content is not None:
        path.write_text(content)
    assert has(refused(f"{key}.name={path}", *(f"{key}.{override}" for override in overrides)), str(path), *words)


def test_a_model_folder_without_weights_is_one_line(refused, tiny_model, tmp_path):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    assert has(refused(f"model.name={tmp_path / 'bare'}"), str(tmp_path / "bare"), "must have weights")
    assert has(refused(f"model.name={tmp_path / 'gone'}"), str(tmp_path / "gone"), "does not exist")


def test_a_run_folder_that_cannot_be_made_gets_one_line(refused, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    assert has(refused(out=file), str(file), "--out")
    assert has(refused(out=file / "below"), str(file), "--out")
    assert file.read_text() == "mine"


def test_a_folder_that_holds_something_else_is_left_alone(refused, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    assert has(refused(out=other), str(other), "not empty", "--out")
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_the_run_of_another_recipe_is_left_alone(complaint_of, refused, unloadable, tmp_path):
    named = QUICK | {"model.name": unloadable, "seed": 7}
    words = [*RECIPES, *(f"{key}={value}" for key, value in named.items())]
    complaint_of("train", *words, "--out", tmp_path / "run")
    before = (tmp_path / "run" / "recipe.yaml").read_text()
    assert has(refused(), "another recipe", "seed: 7 there, seed: 1 here", "--out")
    assert (tmp_path / "run" / "recipe.yaml").read_text() == before


def test_a_full_disk_is_one_line(refused, monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("manypaths.run_folder.shutil.disk_usage", lambda path: usage(2**40, 2**40 - 2**20, 2**20))
    assert has(refused(), "full", "1 MiB", str(tmp_path))
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_train_without_recipes_names_some(complaint_of, tmp_path):
    assert has(complaint_of("train", "--out", tmp_path / "new"), "Name recipes", "manypaths recipes")
    assert not (tmp_path / "new").exists()


def test_recipes_lists_every_shipped_recipe_with_its_first_comment(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines if line.startswith("  "))
    assert set(listed) - set(recipe.shipped()) == {"--launch", "sweep"}
    assert all(comment and not comment.startswith("#") for comment in listed.values())
    for name, path in recipe.shipped().items():  # whole sentences: what follows the first line begins another
        second = path.read_text("utf-8").splitlines()[1]
        assert listed[name][-1] not in ",;" and (not second.startswith("# ") or second[2].isupper()), name


def test_recipes_groups_methods_by_what_they_need(capsys):
    assert main(["recipes"]) == 0
    heading, groups = None, {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("  methods/"):
            groups[line.split()[0]] = heading
        elif line.endswith(":"):
            heading = line.removeprefix("Methods that need ").removesuffix(":")
    assert set(groups) == {name for name in recipe.shipped() if name.startswith("methods/")}
    for name, needs in groups.items():
        content = recipe.content([name])
        method = {"among_correct": False, "options": {}, "advantage_options": {}, **content.get("method", {})}
        bound = {
            "reweight": bind_reweight(method.get("reweight"), method["options"], "x", method["among_correct"]),
            "advantage": bind_advantage(method.get("advantage"), method["advantage_options"], "x"),
        }
        wanted = {own for role, function in bound.items() if function for own in inputs_of(function, role)}
        if content.get("replay", {}).get("weight"):
            wanted |= {"correct", "keys"}
        if content.get("history", {}).get("target") is not None:
            wanted |= {"correct"}
        shown = [own for own in ("correct", "keys", "similarity", "logprobs") if own in wanted]
        assert needs == (" and ".join(shown) or "nothing"), name


def test_recipes_that_are_named_print_yaml_that_reads_back(capsys, tmp_path):
    names = ["smollm2-135m", "dapo", "dra", "svamp"]
    assert main(["recipes", *names, "trainer.max_steps=9"]) == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert recipe.read([str(tmp_path / "printed.yaml")]) == recipe.read(names, ["trainer.max_steps=9"])


def test_recipes_names_the_unknown_one(complaint_of):
    assert has(complaint_of("recipes", "smolm2-135m", "grpo"), "'smolm2-135m'", "'smollm2-135m'")


def test_inspect_needs_a_folder_with_groups(complaint_of, tmp_path):
    assert has(complaint_of("inspect", tmp_path), str(tmp_path), "groups.jsonl")
    assert has(complaint_of("inspect", tmp_path / "gone"), str(tmp_path / "gone"))
    for name in ("groups.jsonl", "metrics.jsonl"):
        (tmp_path / name).write_text("")
    assert has(complaint_of("inspect", tmp_path), str(tmp_path), "group")
    assert not (tmp_path / "inspect.html").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["--benchmarks", "--problems"]),
        (["--problems", "gone.jsonl"], ["'gone.jsonl'", "does not exist"]),
        (["--problems", "gsm8k", "--split", "dev"], ["train, test", "'dev'"]),
        (["--problems", "svamp", "--problem-column", "q"], ["'q'", "question, answer"]),
        (["--problems", "svamp", "--limit", "0"], ["limit", "0"]),
        (["--problems", "svamp", "--prompt", "Solve it."], ["--prompt", "{question}"]),
    ],
)
def test_evaluate_checks_its_problems_before_the_model(words, expected, complaint_of, unloadable):
    assert has(complaint_of("evaluate", unloadable, *words), *expected)


def test_evaluate_names_the_fault_of_the_model(complaint_of, unloadable, tmp_path):
    assert has(complaint_of("evaluate", unloadable, "--problems", "svamp"), "could not be loaded", str(unloadable))
    assert has(complaint_of("evaluate", tmp_path, "--problems", "svamp"), str(tmp_path), "must have weights")


def test_evaluate_of_a_run_takes_its_problems_prompt_and_model(complaint_of, capsys, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("run")
    run.mkdir()
    spec = recipe.read(["smollm2-135m", *RECIPES], ["evaluation.problems.options.count=9", "prompt='Q: {question}'"])
    (run / "recipe.yaml").write_text(recipe.dump(spec))
    assert has(complaint_of("evaluate", run), str(tmp_path / "run" / "model"), "does not exist")
    shutil.copytree(tiny_model, run / "model")
    for words, count in ([], 9), (["--limit", "2"], 2), (["--problems", "svamp", "--limit", "1"], 1):
        assert main(["evaluate", "run", "--max-new-tokens", "2", *words]) == 0
        written = Path("evaluations", "run", "svamp.jsonl" if "svamp" in words else "arithmetic.jsonl")
        assert len(written.read_text().splitlines()) == count
        shutil.rmtree("evaluations")


def test_evaluate_measures_a_model_and_writes_every_completion(capsys, tiny_model, tmp_path):
    words = [
        "--problems",
        "arithmetic",
        "--limit",
        "3",
        "--max-new-tokens",
        "4",
        "--samples",
        "2",
        "--temperature",
        "1",
    ]
    out = tmp_path / "deep" / "out"
    assert main(["evaluate", str(tiny_model), *words, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert has(
        printed.out, "Backend: transformers", "| mean@n | 0.0%", "0.0% to 56.1%", "| arithmetic | 3        | 2   |"
    )
    assert has(printed.err, "arithmetic: 3/3 problems, 0.0% so far, 0 s left")
    lines = [json.loads(line) for line in (out / "arithmetic.jsonl").read_text().splitlines()]
    assert [len(line["samples"]) for line in lines] == [2, 2, 2]
    assert sorted(path.name for path in content_of(out)) == [
        "arithmetic.jsonl",
        "counts.json",
        "settings.json",
        "summary.json",
        "table.md",
    ]
    assert (out / "table.md").read_text() in printed.out

    assert main(["evaluate", str(tiny_model), *words, "--seed", "2", "--out", str(out)]) == 2
    assert has(capsys.readouterr().err, "seed 1 there, 2 here", "another --out")
    assert main(["grade", str(out / "arithmetic.jsonl"), "--out", str(tmp_path / "again.jsonl")]) == 0
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    verdicts = [[[sample["correct"] for sample in line["samples"]] for line in graded] for graded in (lines, again)]
    assert verdicts[0] == verdicts[1]


def test_a_checkpoint_of_a_run_is_evaluated_with_the_runs_prompt(tiny_model, tmp_path, capsys):
    run = tmp_path / "run"
    spec = recipe.read(["smollm2-135m", *RECIPES], ["prompt='Q: {question}'"])
    shutil.copytree(tiny_model, run / "checkpoints" / "checkpoint-3")
    (run / "recipe.yaml").write_text(recipe.dump(spec))
    words = ["--problems", "svamp", "--limit", "1", "--max-new-tokens", "2", "--out", str(tmp_path / "out")]
    assert main(["evaluate", str(run / "checkpoints" / "checkpoint-3"), *words]) == 0
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["prompt"] == "Q: {question}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--benchmarks", "math501"], ["'math501'", "'math500'"]),
        (["--benchmarks", "math500", "--data-dir", "gone"], ["'gone'", "math500.jsonl"]),
        (["--problems", "svamp", "--samples", "4"], ["--temperature"]),
        (["--problems", "svamp", "--backend", "vllm"], ["vllm", "not installed"]),
        (["--problems", "svamp", "--backend", "server"], ["URL"]),
    ],
)
def test_a_mistake_in_an_evaluation_is_one_line(words, expected, complaint_of, unloadable, tmp_path):
    assert has(complaint_of("evaluate", unloadable, *words, "--out", tmp_path / "out"), *expected)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, ["does not exist"]),
        ("", ["empty"]),
        ('{"completion": "a"}', ["gold column", "completion"]),
        ('{"said": "a", "answer": "1"}', ["text column", "said, answer"]),
        ('{"completion": 7, "answer": "1"}', ["row 1"]),
        ("[1]", ["objects"]),
    ],
)
def test_a_file_that_cannot_be_graded_is_one_line(content, expected, complaint_of, tmp_path):
    path = tmp_path / "answers.jsonl"
    if content is not None:
        path.write_text(content)
    assert has(complaint_of("grade", path), *expected)


def test_another_process_waits_for_the_first_before_it_prints_the_same_mistake(capsys, monkeypatch):
    """So that the launcher has time to end it, and the mistake is printed once."""
    monkeypatch.setattr(cli, "HEAD_START", 0.3)
    began = time.monotonic()
    assert main(["recipes", "mrr"]) == 2
    assert time.monotonic() - began < 0.3 and has(capsys.readouterr().err, "manypaths recipes: ")
    monkeypatch.setenv("RANK", "1")
    began = time.monotonic()
    assert main(["recipes", "mrr"]) == 2
    assert time.monotonic() - began > 0.3 and has(capsys.readouterr().err, "manypaths recipes, process 1: ")


@pytest.mark.parametrize("words", [[], ["trian"], ["train", "--outt", "x"], ["evaluate"]])
def test_an_unknown_command_or_option_shows_the_usage(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert has(capsys.readouterr().err, "usage: manypaths")


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


def test_a_mistake_is_one_line_of_the_console_script_too(unloadable, tmp_path):
    """With torch, transformers and TRL imported: none of them may print anything."""
    script = shutil.which("manypaths", path=str(Path(sys.executable).parent))
    assert script is not None, "the package must be installed with its script: make .venv/dev"
    named = QUICK | {"model.name": unloadable, "trainer.num_generations": 3}
    words = ["train", *RECIPES, *(f"{key}={value}" for key, value in named.items()), "--out", str(tmp_path / "run")]
    done = subprocess.run([script, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert has(done.stderr, "manypaths train: ", "whole groups")


def test_recipes_may_follow_an_option(capsys, tmp_path):
    assert main(["train", "smollm2-135m", "--out", str(tmp_path), "grpo", "seed=x"]) == 2
    assert has(capsys.readouterr().err, "seed must be int, got 'x'")
    with pytest.raises(SystemExit) as ended:
        main(["train", "grpo", "--ot", "x"])
    assert ended.value.code == 2 and "unrecognized arguments: --ot" in capsys.readouterr().err
    for words in (["--max-steps", "5"], ["--max-steps=5"]):
        with pytest.raises(SystemExit):
            main(["train", "grpo", *words])
        assert "trainer.max_steps=VALUE" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["compare", "a", "--max-steps", "5"])
    assert "VALUE" not in capsys.readouterr().err


def test_a_dry_run_prints_the_page_and_writes_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ["train", "r1-distill-qwen-7b", "--dry-run", *RECIPES, "trainer.max_steps=7", "trainer.use_vllm=true"]
    assert main([*words, "--gpu", "a100-40gb", "--processes", "3"]) == 0
    page = capsys.readouterr().out
    assert has(page, "7 updates of the weights", "7,615,616,512 parameters", "a100-40gb", "on 3 processes")
    assert page.splitlines()[-1].startswith("The keys of trainer and lora are TRL's and PEFT's.")
    assert list(tmp_path.iterdir()) == []
    assert main([*words, "trainer.learning_rat=1"]) == 2
    assert capsys.readouterr().out == ""  # no page with numbers that no run has


def test_a_dry_run_of_a_run_folder_reads_its_recipe(capsys, tmp_path):
    (tmp_path / "recipe.yaml").write_text(recipe.dump(recipe.read(["smollm2-135m", *RECIPES], ["seed=77"])))
    assert main(["train", "--out", str(tmp_path), "--dry-run"]) == 0
    assert has(capsys.readouterr().out, "seed: 77", "134,515,008 parameters")
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--dry-run", "trainer.learning_rat=1"], ["'trainer.learning_rat'", "'learning_rate'"]),
        (["--dry-run", "trainer.output_dir=x"], ["trainer.output_dir", "set by the run"]),
        (["--dry-run", "lora.lora_alpa=1"], ["'lora.lora_alpa'", "'lora_alpha'"]),
        (["--dry-run", "trainer.max_steps=many"], ["trainer.max_steps must be int", "'many'"]),
        (["--dry-run", "lora.r=many"], ["lora.r must be int", "'many'"]),
        (["--dry-run", "--gpu", "h10"], ["'h10'", "'h100'"]),
        (["--dry-run", "--processes", "0"], ["--processes", "0"]),
        (["--dry-run", "problems.name=gone.json"], ["'gone.json'", "does not exist"]),
        (["--gpu", "h100"], ["--gpu", "--dry-run"]),
        (["--dry-run", "--launch", "zero2"], ["--launch", "--dry-run"]),
    ],
)
def test_a_mistake_in_a_dry_run_is_one_line(words, expected, complaint_of, tmp_path):
    assert has(complaint_of("train", "smollm2-135m", *RECIPES, *words, "--out", tmp_path / "run"), *expected)
    assert not (tmp_path / "run").exists()


def test_names_in_foreign_files_reach_the_terminal_without_control_characters(capsys, tmp_path):
    rows = [f"{name},{step},0.{step}" for name in ("\x1b[31mred", "blue\x07") for step in (1, 2)]
    (tmp_path / "runs.csv").write_text("\n".join(["run,step,accuracy", *rows, ""]))
    (tmp_path / "\x1b[2J.csv").write_text("a\n1\n")
    assert main(["compare", str(tmp_path / "runs.csv"), str(tmp_path / "\x1b[2J.csv")]) == 3
    printed = capsys.readouterr()
    assert "[31mred" in printed.out and "Left out" in printed.err
    assert all(line.isprintable() for line in (printed.out + printed.err).split("\n"))
