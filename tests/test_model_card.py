"""Model cards: what they say is what the run folder holds, and nothing in it can break them."""

from __future__ import annotations

import itertools
import re

import pytest
import yaml
from markdown_it import MarkdownIt

from manypaths import recipe
from manypaths.files import as_json
from manypaths.methods import ADVANTAGES, REWEIGHTERS, SELECTIONS
from manypaths.model_card.files import write_card
from manypaths.model_card.papers import GRPO, RLOO, WORDS, bibtex, papers
from manypaths.model_card.publish import dataset_card
from manypaths.model_card.text import card, code, fenced, hub_id
from manypaths.model_card.training import Training, of_run
from manypaths.run_folder import is_run, prepare_run_dir, run_of, runs_in, write_summary
from manypaths.statistics import estimate, interval

SECTIONS = ["Accuracy", "Method", "Training", "Recipe", "Versions", "Citations"]
HOSTILE = [
    *("`", "```", "`````yaml", "---", "\n---\nlicense: mit\n---\n", "# Heading", "a|b", " ", "$x$", "'\"\\"),
    *("</details><script>alert(1)</script>", "[link](javascript:alert(1))", "${{ x }}{% raw %}"),
    *("\x1b[31mred\x07", "\u202ereversed", "\ud800"),
]


def parsed(text: str) -> tuple[dict, list]:
    """The metadata of a card and the tokens of its Markdown."""
    _, front, body = re.split(r"^---$", text, maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(front), MarkdownIt("commonmark").enable("table").parse(body)


def headings(tokens: list) -> list[str]:
    return [after.content for token, after in itertools.pairwise(tokens) if token.tag == "h2" and token.nesting == 1]


def run_with(folder, *overrides, counts=None):
    """A run folder with a recipe, metrics and evaluations; no model was trained for it."""
    spec = recipe.read(["smollm2-135m", "dr-grpo", "mmr", "gsm8k"], list(overrides))
    prepare_run_dir(folder, spec)
    (folder / "metrics.jsonl").write_text('{"step": 7, "loss": 0.1}\n')
    (folder / "environment.json").write_text(
        as_json({"versions": {"torch": "9.9"}, "commit": "c0ffee", "gpus": ["H100"]})
    )
    (folder / "evaluation").mkdir()
    counts = counts or {"before": [0, 1, 1, 2], "after": [1, 2, 2, 4]}
    summary = {}
    for when, step in (("before", 0), ("after", 7)):
        shares = [right / 4 for right in counts[when]]
        low, high = interval(estimate(shares))
        figures = {"accuracy": sum(shares) / len(shares), "low": low, "high": high, "problems": 4, "samples": 4}
        summary[when] = {"step": step, **figures}
    written = {when: {"gsm8k": {str(n): [4, c, None, None] for n, c in enumerate(own)}} for when, own in counts.items()}
    (folder / "evaluation" / "summary.json").write_text(as_json(summary))
    (folder / "evaluation" / "counts.json").write_text(as_json(written))
    (folder / "evaluation" / "settings.json").write_text(as_json({"temperature": 0.6, "seed": 1}))
    (folder / "summary.json").write_text(as_json({"evaluation": summary, "steps": 7, "seconds": {"sampling": 3.0}}))
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    return folder


def test_a_card_says_what_the_run_folder_holds(tmp_path):
    run = run_with(tmp_path / "run", "method.options.lam=0.7")
    text = write_card(run, "better", "apache-2.0").read_text()
    metadata, tokens = parsed(text)
    assert headings(tokens) == SECTIONS
    assert metadata["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct" and metadata["datasets"] == ["openai/gsm8k"]
    assert metadata["license"] == "apache-2.0" and {"trl", "grpo", "manypaths", "mmr"} <= {*metadata["tags"]}
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == 0.5625 and metadata["model-index"][0]["name"] == "better"
    for when, shares in (("before", [0, 0.25, 0.25, 0.5]), ("after", [0.25, 0.5, 0.5, 1])):
        low, high = interval(estimate(shares))
        row = rf"\| {when} +\| 4 +\| 4 +\| {sum(shares) / 4:.1%} +\| {low:.1%} to {high:.1%} +\|"
        assert re.search(row, text), row
    low, high = interval(estimate([0.25, 0.5, 0.5, 1]), estimate([0, 0.25, 0.25, 0.5]))
    (row,) = re.findall(r"\| after - before \| +\| +\| ([^|]+)\| ([^|]+)\|", text)
    assert [cell.strip() for cell in row] == ["+31.2%", f"{low:+.1%} to {high:+.1%}"]
    for part in ("Dr. GRPO with MMR-GRPO", "lam=0.7", "c0ffee", "`9.9`", "7 updates", "H100", "Wei, Kangda"):
        assert part in text, part
    assert (run / "model" / "recipe.yaml").read_text() == (run / "recipe.yaml").read_text()


def test_a_difference_is_over_the_same_problems_and_a_benchmark_of_these_weights(tmp_path):
    run = run_with(tmp_path / "run")
    for step, accuracy in ((3, 0.111), (7, 0.222)):
        folder = run / "evaluation" / f"step-{step}"
        folder.mkdir()
        (folder / "settings.json").write_text("{}")
        figures = {"accuracy": accuracy, "low": 0.1, "high": 0.3, "problems": 9, "samples": 1}
        (folder / "summary.json").write_text(as_json({"math500": figures, "all": figures}))
    text = card(of_run(run))
    assert "22.2%" in text and "11.1%" not in text and "| after - before " in text
    results = parsed(text)[0]["model-index"][0]["results"]
    assert [(own["dataset"]["name"], own["metrics"][0]["value"]) for own in results] == [
        ("gsm8k", 0.5625),
        ("math500", 0.222),
    ]
    counts = run / "evaluation" / "counts.json"
    counts.write_text(counts.read_text().replace('"0"', '"another"', 1))
    assert "after - before" not in card(of_run(run))


def test_the_baseline_that_a_card_names_is_the_recipe_without_its_method(tmp_path):
    run = run_with(tmp_path / "run", "method.options.lam=0.7")
    words = re.findall(r"manypaths train recipe.yaml (.*?) --out", write_card(run).read_text())[0].split()
    spec = recipe.read([str(run / "model" / "recipe.yaml")], words)
    assert spec.method.reweight is None and spec.method.advantage is None
    assert spec.trainer == recipe.read([str(run / "recipe.yaml")]).trainer


def test_what_is_not_known_is_left_out(tmp_path):
    run = run_with(tmp_path / "run", "model.name=/somewhere/weights", "problems.name=my.jsonl", "method.reweight=null")
    (run / "evaluation" / "summary.json").unlink()
    metadata, tokens = parsed(write_card(run).read_text())
    assert not {"license", "base_model", "datasets", "model-index"} & metadata.keys()
    text = (run / "model" / "README.md").read_text()
    assert (
        "was not evaluated" in text
        and "baseline" not in text.partition("## Recipe")[0]
        and headings(tokens) == SECTIONS
    )


def test_settings_stand_under_the_keys_by_which_a_recipe_sets_them(tmp_path):
    named = ["method.among_correct=true", "select.rule=random", "select.count=2", "trainer.learning_rate=0.0007"]
    run = run_with(tmp_path / "run", *named)
    tables = write_card(run).read_text().partition("## Recipe")[0]
    rows = dict(re.findall(r"^\| `([\w.]+)` +\| `(.*?)` +\|$", tables, re.MULTILINE))
    settings = yaml.safe_load((run / "model" / "recipe.yaml").read_text())
    for key, shown in rows.items():
        section, _, name = key.partition(".")
        assert not name or str(settings[section][name]) == shown or isinstance(settings[section][name], dict)
    assert rows["method.among_correct"] == "True" and rows["trainer.learning_rate"] == "0.0007"
    assert rows["select"].startswith("rule=random, count=2")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_a_card(text, tmp_path):
    settings = {
        "model": {"name": text}, "problems": {"name": text}, "rewards": {text: 1.0, "accuracy": text},
        "method": {"reweight": text, "options": {text: text}}, "trainer": {"loss_type": text, "learning_rate": text},
        "lora": {text: text}, "evaluation": {"problems": {"name": text}}, "seed": text, "data": {"rows": text},
    }  # fmt: skip
    figures = {"accuracy": 0.5, "low": 0.1, "high": 0.9, "problems": 3, "samples": 1}
    environment = {"versions": {"torch": text}, "commit": text, "gpus": [text], "python": text}
    for own in (text, None):
        training = Training(text, settings, environment, own, {"after": figures}, benchmarks={text: figures})
        written = card(training)
        metadata, tokens = parsed(written)
        assert headings(tokens) == SECTIONS and "license" not in metadata
        assert [token.content.strip() for token in tokens if token.type == "html_block"] == ["<details>", "</details>"]
        inline = [child for token in tokens for child in token.children or []]
        assert not any(child.type == "html_inline" for child in inline)
        links = {child.attrs["href"] for child in inline if child.type == "link_open"}
        assert links <= {"https://github.com/huggingface/trl"}
        assert written.encode("utf-8", "strict") and all(line.isprintable() for line in written.split("\n"))
    for model in (text, None):
        metadata, tokens = parsed(dataset_card(f"user/{text}", [], tmp_path, model, None))
        assert metadata["configs"] == [] and headings(tokens) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_a_code_span_and_a_fenced_block_hold_their_text_alone(text):
    (inline,) = (token for token in MarkdownIt().parse(f"x {code(text)} y") if token.type == "inline")
    assert [child.type for child in inline.children] == ["text", "code_inline", "text"]
    blocks = [token for token in MarkdownIt().parse(fenced(text, "yaml") + "\n\nend") if token.type != "inline"]
    assert [block.type for block in blocks] == ["fence", "paragraph_open", "paragraph_close"]


@pytest.mark.parametrize(
    ("trainer", "variant", "cited"),
    [
        ({}, "GRPO (TRL's default loss)", "2402_03300"),
        ({"loss_type": "dapo"}, "DAPO", "2402_03300"),
        ({"loss_type": "cispo"}, "GRPO (loss_type `cispo`)", "2402_03300"),
        ({"class": "RLOOTrainer", "reward_clip_range": None}, "RLOO", "2402_14740"),
    ],
)
def test_a_card_names_no_variant_that_the_settings_do_not_say(trainer, variant, cited):
    text = card(Training("x", {"trainer": trainer, "method": {"reweight": "mmr"}, "lora": {"r": 4}}, {}))
    metadata, _ = parsed(text)
    algorithm = variant[:4]
    assert f"of {variant} with MMR-GRPO, by" in text and f"| {variant} " in text and "a LoRA adapter of" in text
    assert algorithm.lower() in metadata["tags"] or algorithm in ("DAPO", "GRPO")
    assert f"'s {'RLOO' if algorithm == 'RLOO' else 'GRPO'}Trainer" in text
    assert re.findall(r"@misc\{arxiv_(\w+),", text) == ["2601_09085", cited]


def test_the_time_of_a_training_is_not_that_of_its_evaluations(tmp_path):
    """A trainer of TRL logs no seconds, so that only those of the evaluations are known."""
    (tmp_path / "script.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "loss": 1.0}\n')
    write_summary(tmp_path)
    assert of_run(tmp_path).seconds is None and "| time " not in card(of_run(tmp_path))
    assert of_run(run_with(tmp_path / "run")).seconds == 3.0


def test_weights_with_the_recipe_of_their_run_are_no_run(tmp_path):
    run = run_with(tmp_path / "run")
    write_card(run)
    assert is_run(run) and not is_run(run / "model") and run_of(run / "model") is None
    assert runs_in(tmp_path) == [run] and runs_in(run) == []


def test_a_damaged_file_is_named(tmp_path):
    run = run_with(tmp_path / "run")
    (run / "evaluation" / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary\.json"):
        of_run(run)
    (run / "model" / "config.json").unlink()
    (run / "model").rmdir()
    with pytest.raises(ValueError, match="no model/"):
        write_card(run)


def test_names_of_the_hub():
    assert hub_id("a/b") == "a/b" and hub_id("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"
    assert not any(map(hub_id, [None, "", "a", "a/b/c", "package:x/y", "./a", "a/b.jsonl", "src/manypaths"]))


def test_every_method_has_a_paper_and_every_entry_is_bibtex():
    without = {"grpo_pos", "reinforce", "mmr", "random"}  # of RGRA's paper or ours; `mmr` of SELECTIONS is no paper's
    names = {*REWEIGHTERS, *ADVANTAGES, *SELECTIONS}
    assert names - without <= {*WORDS} and {*WORDS} <= names | {"rgra", "history", "replay"}
    for paper in [*WORDS.values(), GRPO, RLOO]:
        entry = bibtex(paper)
        assert re.fullmatch(r"@misc\{\w+,\n(  \w+ += \{.*\},\n)*  \w+ += \{.*\}\n\}", entry), entry
        assert entry.count("{") == entry.count("}") and re.fullmatch(r"\d{4}\.\d{5}", paper.arxiv)
    assert [paper.method for paper in papers(["mmr", "psr", "nsr", "unknown"])] == ["MMR-GRPO", "NSR", "GRPO"]
