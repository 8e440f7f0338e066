"""The figures, the text and the page of `manypaths explain`, and its command line."""

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_inspect_page import HOSTILE

from manypaths import recipe
from manypaths.cli import main
from manypaths.explain.choices import Choice, read_choice
from manypaths.explain.effect import Effect, Neighbour, OfGroup
from manypaths.explain.page import FOLDED, LONGEST, write_page
from manypaths.explain.report import COLUMNS, Report, agreements, as_dict, text
from manypaths.explain.summary import agreement, summarise
from manypaths.logs import Log, LoggedGroup

NEAR = [Neighbour(1, 0.9), Neighbour(0, 0.9)]


def effect_of(label, *groups, share=0.5, ways=None):
    """An effect of groups of two completions, by their advantages."""
    of_groups = [OfGroup([1.0, 0.0], list(advantages), share, NEAR, ways) for advantages in groups]
    return Effect(Choice(label, read_choice("none").spec), of_groups)


def group_of(texts=("a", "b"), step=1, **others):
    return LoggedGroup(step, "prompt", list(texts), {"r": [1.0, 0.0]}, [1.0, 0.0], **others)


def report_of(tmp_path, groups, effects, notes=()):
    return Report(Log(tmp_path / "log.jsonl", "JSON lines", groups), effects, "group", list(notes))


class Page(HTMLParser):
    """The texts of the elements of class text, and the names of all elements."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.texts, self.inside = [], [], 0
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if dict(attributes).get("class") == "text":
            self.texts.append("")
            self.inside = 1
        elif self.inside and tag not in ("br", "meta", "link"):
            self.inside += 1

    def handle_endtag(self, tag):
        self.inside = max(0, self.inside - 1)

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data


# Figures


def test_the_figures_of_a_method():
    groups = [
        group_of(correct=[True, False]),
        group_of(correct=[True, None]),
        group_of(correct=[True, True]),
        group_of(),
    ]
    plain = effect_of("GRPO", (1.0, -1.0), (0.5, -0.5), (0.0, 0.0), (0.0, 0.0), share=None)
    effect = effect_of("other", (-0.5, 0.5), (0.5, -0.5), (0.25, 0.25), (0.0, 0.0), ways=[0, 0])
    summary = summarise(groups, plain, effect)
    assert (summary.groups, summary.flat, summary.changed, summary.flat_changed) == (4, 1, 2, 1)
    assert (summary.signs, summary.right_lowered, summary.wrong_raised, summary.share) == (2, 1, 1, 0.5)
    assert (summary.raised.group, summary.raised.completion, summary.raised.size) == (0, 1, 1.5)
    assert (summary.lowered.group, summary.lowered.completion, summary.lowered.size) == (0, 0, -1.5)
    assert summary.raised.neighbour == Neighbour(0, 0.9) and summary.raised.same_way == 1
    assert summarise(groups, plain, plain).share is None


def test_an_advantage_of_0_neither_raises_nor_lowers():
    summary = summarise([group_of(correct=[True, False])], *[effect_of("GRPO", (0.0, 0.0))] * 2)
    assert (summary.right_lowered, summary.wrong_raised, summary.flat) == (0, 0, 1)


def test_what_two_digits_do_not_show_is_no_change():
    plain, effect = effect_of("GRPO", (1.0, -1.0)), effect_of("other", (1.004, -1.004))
    assert summarise([group_of()], plain, effect_of("other", (1.006, -1.006))).changed == 1
    tiny = effect_of("GRPO", (0.0010, -0.0010)), effect_of("other", (0.0012, -0.0012))
    assert summarise([group_of()], *tiny).changed == 1  # by the size of the group's own advantages
    summary = summarise([group_of()], plain, effect)
    assert (summary.changed, summary.raised, summary.lowered) == (0, None, None)
    assert summary.right_lowered is None and summary.wrong_raised is None


def test_which_advantages_the_log_holds(tmp_path):
    groups = [group_of(advantages=[1.0, -1.0]), group_of(advantages=[0.5, None]), group_of()]
    plain = effect_of("GRPO", (1.0, -1.0), (0.0, 0.0), (0.0, 0.0))
    other = effect_of("other", (0.9, -0.9), (0.0, 0.0), (0.0, 0.0))
    assert agreement(groups, plain) == (1, 1) and agreement(groups, other) == (0, 1)
    log = Log(tmp_path, "", groups)
    assert agreements(log, [plain, other]) == [
        "The advantages in the log equal those of GRPO in every group that has them: 1."
    ]
    assert "equal in 0 of 1" in agreements(log, [other])[0]
    assert agreements(Log(tmp_path, "", [group_of()] * 3), [plain]) == []


# The text


def test_the_text_says_who_moved_and_because_of_whom(tmp_path):
    groups = [group_of(), group_of(("\x1b[31mred | \u202e", "c" * 90), step=3)]
    plain = effect_of("GRPO", (1.0, -1.0), (0.0, 0.0))
    effect = effect_of("mmr", (1.0, -1.0), (0.75, -0.25))
    shown = text(report_of(tmp_path, groups, [plain, effect], ["A note\x07."]))
    assert "mmr raises most completion 0 of step 3, group 0, from 0.00 to +0.75; its nearest" in shown
    assert f'neighbour is completion 0, similarity 0.90: "{"c" * 60}..."' in shown
    assert all(character == "\n" or character.isprintable() for character in shown)
    header, _, *rows = [line.split("|")[1:-1] for line in shown.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in header] == ["method", "flat", "changed", "of them flat", "share", "signs"]
    assert [cell.strip() for cell in rows[1]] == ["mmr", "0 of 2", "1 of 2", "1", "50 %", "0"]
    with_verdicts = text(report_of(tmp_path, [group_of(correct=[True, False])] * 2, [plain, effect]))
    assert "right lowered" in with_verdicts and "right lowered" not in shown


def test_the_text_says_what_became_of_the_reward(tmp_path):
    near = [Neighbour(1, 0.9), None, None]
    group = LoggedGroup(1, "", ["a", "b", "c"], {}, [1.0, 1.0, 0.0])
    plain = Effect(effect_of("GRPO").choice, [OfGroup([1.0, 1.0, 0.0], [0.5, 0.5, -1.0], 0.0, near, None)])
    effect = Effect(effect_of("mmr").choice, [OfGroup([-0.25, 1.0, 0.0], [-0.5, 1.5, -1.0], 0.5, near, None)])
    shown = text(report_of(tmp_path, [group], [plain, effect]))
    assert "completion 1 of step 1, group 0, from +0.50 to +1.50; its reward, 1, was kept, that of others was" in shown
    assert "from +0.50 to \u22120.50; its reward, 1, became \u22120.25; its nearest neighbour is completion 1" in shown


def test_a_method_without_effect_is_said_to_have_none(tmp_path):
    plain = effect_of("GRPO", (1.0, -1.0))
    assert "none changes no advantage." in text(
        report_of(tmp_path, [group_of()], [plain, effect_of("none", (1.0, -1.0))])
    )


def test_the_json_holds_every_number_and_no_text(tmp_path):
    plain, effect = effect_of("GRPO", (1.0, -1.0)), effect_of("mmr", (0.5, -0.5))
    content = as_dict(report_of(tmp_path, [group_of(("secret", "words"))], [plain, effect], ["note"]))
    (group,) = content["groups"]
    assert group["advantages"] == {"GRPO": [1.0, -1.0], "mmr": [0.5, -0.5]} and group["total"] == [1.0, 0.0]
    assert [row["label"] for row in content["methods"]] == ["GRPO", "mmr"] and content["notes"] == ["note"]
    assert "secret" not in json.dumps(content)


# The page


def page_of(tmp_path, texts, most=100, groups=None):
    groups = groups or [group_of(texts)]
    effects = [
        effect_of(label, *[values] * len(groups)) for label, values in (("GRPO", (1.0, -1.0)), ("mmr", (0.5, 0.5)))
    ]
    write_page(report_of(tmp_path, groups, effects, ["A note {{groups}} & <b>."]), tmp_path / "page.html", most)
    return (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize("hostile", [*HOSTILE, "{{groups}}", "{{style}}", "'\"><script>"])
def test_a_text_is_shown_as_it_is_and_never_as_markup(hostile, tmp_path):
    content = page_of(tmp_path, (hostile, "plain"))
    page, harmless = Page(content), Page(page_of(tmp_path, ("x", "plain")))
    assert page.tags.count("script") == 0 and set(page.tags) == {*harmless.tags} | (
        {"span"} if not hostile.strip() else set()
    )
    assert not re.search(r"[^\n\t\x20-\x7e\u00a0-\U0010ffff]|[\u202a-\u202e\u2066-\u2069\ud800-\udfff]", content)
    if hostile.isprintable() and hostile.strip():
        assert hostile in page.texts


def test_a_column_of_the_log_names_no_group(tmp_path):
    """A column named number of any log is no number of a group, and may hold markup and control characters."""
    groups = [group_of(extra={"number": ["<img src=x>\x1b[31m"]}), group_of(extra={"number": True}), group_of()]
    content = page_of(tmp_path, None, groups=groups)
    assert "<img" not in content and "\x1b" not in content
    assert re.findall(r'<h2><a href="#g\d">(.*?)</a>', content) == [f"Step 1, group {place}" for place in range(3)]
    effects = [effect_of(label, *[values] * 3) for label, values in (("GRPO", (1.0, -1.0)), ("mmr", (0.5, 0.5)))]
    assert "of step 1, group 0, from" in text(report_of(tmp_path, groups, effects))


def test_the_page_needs_nothing_from_outside(tmp_path):
    content = page_of(tmp_path, ("a", "b"))
    assert "default-src 'none'" in content and not re.search(r"(?:src|href)=[\"'](?!data:|#)", content)
    assert "{{" not in content.replace("{{groups}} &amp;", "") and "A note {{groups}} &amp; &lt;b&gt;." in content


def test_a_long_text_is_folded_and_its_middle_left_out(tmp_path):
    long = "start " + "x" * (LONGEST + 100) + " end"
    page = Page(page_of(tmp_path, (long, "y" * FOLDED)))
    assert any(
        text.startswith("start") and text.endswith("end") and "110 characters are left out" in text
        for text in page.texts
    )
    assert "y" * FOLDED in page.texts


def test_a_long_log_is_thinned_out_and_keeps_the_largest_changes(tmp_path):
    groups = [group_of(step=step) for step in range(40)]
    plain = effect_of("GRPO", *[(1.0, -1.0)] * 40)
    effect = effect_of("mmr", *[(1.0, -1.0)] * 13, (3.0, -1.0), *[(1.0, -1.0)] * 26)
    write_page(report_of(tmp_path, groups, [plain, effect]), tmp_path / "page.html", 4)
    content = (tmp_path / "page.html").read_text("utf-8")
    assert re.findall(r'<section class="group" id="g(\d+)"', content) == ["0", "10", "13", "20", "30"]
    assert "40 groups, 80 completions; 5 groups are shown here" in content
    anchors = set(re.findall(r'id="(g[\d-]+)"', content))
    assert set(re.findall(r'href="#(g[\d-]+)"', content)) <= anchors


def test_a_row_has_the_numbers_of_a_completion(tmp_path):
    content = page_of(tmp_path, None, groups=[group_of(correct=[True, False])])
    (row,) = re.findall(r'<tr id="g0-1">(.*?)</tr>', content)
    cells = re.findall(r'data-name="([^"]*)">(.*?)</td>', row)
    assert [name for name, _ in cells] == ["reward", "GRPO", "mmr", "nearest"]
    plain_cells = [re.sub("<[^>]*>", "", cell) for _, cell in cells]
    assert plain_cells == ["0", "\u22121.00", "▲ +0.50", "0 0.90"]
    assert 'title="wrong">✗' in row and "raised by 1.50; its nearest neighbour is completion 0" in row


# The command


def lines_of(tmp_path, count=3, **others):
    rows = [
        {
            "step": 1,
            "prompt": f"p{place // 4}",
            "completion": f"{place} + 1 = {place % 3}",
            "reward": float(place % 2),
            **others,
        }
        for place in range(4 * count)
    ]
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_command_prints_a_table_and_writes_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["explain", str(lines_of(tmp_path)), "--method", "mmr-paper", "--method", "maxrl", "--correct", "reward"])
        == 0
    )
    printed = capsys.readouterr().out
    assert "| mmr-paper" in printed and "| maxrl" in printed and "n-gram embedder" in printed
    page = tmp_path / "rollouts.explain.html"
    assert f"The groups: {page}" in printed and page.exists()


def test_without_a_method_it_takes_mmr_and_dra(tmp_path, capsys):
    out = ["--out", str(tmp_path / "page.html"), "--json"]
    for more, labels in ((["--correct", "reward"], ["GRPO", "mmr", "dra"]), ([], ["GRPO", "mmr-paper", "dra-paper"])):
        assert main(["explain", str(lines_of(tmp_path)), *more, *out]) == 0
        assert [row["label"] for row in json.loads(capsys.readouterr().out)["methods"]] == labels


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "mmmr"], "Did you mean 'mmr"),
        (["--method", "rgra"], "the importance ratio"),
        (["--groups", "0"], "--groups must be 1 or more"),
        (["--correct", "gone"], "gone"),
        (["--method", "mmr"], "--correct NAME"),
        (["--embedder", "a/b/c"], "hub name"),
    ],
)
def test_a_mistake_gets_a_sentence(words, sentence, tmp_path, capsys):
    assert main(["explain", str(lines_of(tmp_path)), "--out", str(tmp_path / "page.html"), *words]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and not printed.out and not (tmp_path / "page.html").exists()


def test_mistakes_are_found_before_torch_is_imported(tmp_path):
    script = "import sys; from manypaths.cli import main; code = main(sys.argv[1:])"
    script += "; sys.exit(9 if 'torch' in sys.modules else code)"
    for words in (["gone.jsonl"], [str(lines_of(tmp_path)), "--method", "mmmr"]):
        done = subprocess.run([sys.executable, "-c", script, "explain", *words], capture_output=True, text=True)
        assert done.returncode == 2, done.stderr


DOCUMENT = Path(__file__).parent.parent / "docs" / "explain.md"


def test_the_example_of_the_document(tmp_path, monkeypatch, capsys):
    shown = DOCUMENT.read_text("utf-8")
    (log,) = re.findall(r"```json\n(.*?)```", shown, re.DOTALL)
    command = re.findall(r"```sh\n(.*?)```", shown, re.DOTALL)[0]
    table = re.findall(r"```text\n(.*?)```", shown, re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    Path("rollouts.jsonl").write_text(log, "utf-8")
    assert main(shlex.split(command)[1:]) == 0
    assert table in capsys.readouterr().out and Path("rollouts.explain.html").exists()
    for name, meaning in COLUMNS.items():
        assert name == "method" or f"| {name} |" in shown, f"docs/explain.md does not explain {name}: {meaning}"


# A run of ours


def run_of(tmp_path, *words):
    """A run folder with three groups of step 1, of the recipe that some words make."""
    run = tmp_path / "run"
    run.mkdir()
    names = [word for word in words if "=" not in word]
    spec = recipe.read(["smollm2-135m", *names, "arithmetic"], [word for word in words if "=" in word])
    (run / "recipe.yaml").write_text(recipe.dump(spec), "utf-8")
    rows = [
        {"text": f"{place} + 1 = {place % 3}", "rewards": {"accuracy": float(place % 2)}, "raw": float(place % 2)}
        for place in range(12)
    ]
    rows = [{**row, "adjusted": row["raw"], "advantage": 0.0, "nearest": None, "similarity": None} for row in rows]
    lines = [
        {
            "step": 1,
            "group": group,
            "prompt": f"p{group}",
            "method": "mmr",
            "completions": rows[4 * group : 4 * group + 4],
        }
        for group in range(3)
    ]
    (run / "groups.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return run


def explained(run, capsys, *words):
    assert main(["explain", str(run), "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_is_explained_by_its_own_recipe(tmp_path, capsys):
    run = run_of(tmp_path, "dr-grpo", "mmr-paper", "method.options.lam=0.3", "keys.name=text", "embedder.name=keys")
    content = explained(run, capsys)
    assert [row["label"] for row in content["methods"]] == ["GRPO", "the run's own", "mmr", "dra"]
    assert content["scale_rewards"] == "none" and (run / "explain.html").exists()
    assert "Similarity is 1 where two keys are equal, and 0 elsewhere." in content["notes"]
    named = explained(run, capsys, "--method", "mmr-paper method.options.lam=0.3")
    for own, other in zip(content["groups"], named["groups"], strict=True):
        label = "mmr-paper method.options.lam=0.3"
        assert own["advantages"]["the run's own"] == other["advantages"][label] != own["advantages"]["mmr"]
    assert any("n-gram" in note for note in explained(run, capsys, "--embedder", "ngram")["notes"])
    alone = explained(run / "groups.jsonl", capsys, "--out", str(tmp_path / "page.html"))
    assert alone["groups"] == content["groups"] and (tmp_path / "page.html").exists()


def test_a_run_of_a_script_is_scaled_as_its_trainer_scaled(tmp_path, capsys):
    run = run_of(tmp_path, "grpo", "mmr")
    (run / "recipe.yaml").unlink()
    for settings, scale in (({"scale_rewards": "none"}, "none"), ({"scale_rewards": True}, "group"), ({}, "group")):
        (run / "script.json").write_text(json.dumps({"trainer": settings}))
        assert explained(run, capsys)["scale_rewards"] == scale
    (run / "script.json").write_text(json.dumps({"trainer": {"multi_objective_aggregation": "normalize_then_sum"}}))
    assert main(["explain", str(run)]) == 2 and "normalize_then_sum" in capsys.readouterr().err


def test_one_method_does_not_change_what_holds_for_the_next(tmp_path, capsys):
    run = run_of(tmp_path, "grpo", "mmr")
    more = ["--method", "mmr-paper embedder.options.width=2", "--method", "mmr-paper"]
    wide = explained(run, capsys, *more)["groups"]
    only = explained(run, capsys, "--method", "mmr-paper")["groups"]
    assert [group["advantages"]["mmr-paper"] for group in wide] == [group["advantages"]["mmr-paper"] for group in only]
    assert wide[0]["advantages"]["mmr-paper embedder.options.width=2"] != wide[0]["advantages"]["mmr-paper"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trainer.multi_objective_aggregation=normalize_then_sum"], "multi_objective_aggregation=normalize_then_sum"),
        (["trainer.scale_rewards=batch", "record.groups=1"], "recorded the first 1 group of a step"),
    ],
)
def test_a_run_whose_advantages_cannot_be_computed_is_refused(words, sentence, tmp_path, capsys):
    assert main(["explain", str(run_of(tmp_path, "grpo", "mmr", *words))]) == 2
    assert sentence in capsys.readouterr().err


def test_a_run_that_selects_completions_is_explained_without_its_own_method(tmp_path, capsys):
    content = explained(run_of(tmp_path, "grpo", "mmr", "select-mmr"), capsys)
    assert [row["label"] for row in content["methods"]] == ["GRPO", "mmr", "dra"]
    assert any("own method is left out: it must not select" in note for note in content["notes"])


def test_what_else_a_recipe_changes_is_said(tmp_path, capsys):
    content = explained(run_of(tmp_path, "grpo", "none"), capsys, "--method", "raft", "--method", "ips")
    assert "raft also changes the importance ratio in the loss, which is not shown." in content["notes"]
    assert "Two completions go one way, for ips, by keys.name=equations." in content["notes"]


def test_a_log_without_a_known_reward_is_refused(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    rows = [{"prompt": "p", "completion": text, "reward": None} for text in "ab"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert main(["explain", str(path)]) == 2
    assert "--reward" in capsys.readouterr().err
