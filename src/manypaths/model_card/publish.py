"""`manypaths publish`: a finished run to the Hugging Face hub, its weights as a model and its records as a data set."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manypaths import run_folder
from manypaths.credentials import credentials_in
from manypaths.files import atomic_write
from manypaths.model_card.files import write_card
from manypaths.model_card.text import code, hub_id
from manypaths.printable import listed, one_line
from manypaths.yaml_text import to_yaml

RECORDS = (run_folder.RECIPE, run_folder.SCRIPT, run_folder.METRICS, run_folder.GROUPS)  # and those of evaluation/
LINES = {"groups": run_folder.GROUPS, "metrics": run_folder.METRICS, "evaluation": f"{run_folder.EVALUATION}/*.jsonl"}
ARGUMENTS = "training_args.bin"  # a pickle of the trainer's arguments, with paths of this machine
KEPT_HERE = (ARGUMENTS, "damaged-checkpoint-*")  # of the folder of checkpoints, which TRL sends as a whole
MEANINGS = {
    "groups": "one line for each recorded group: the prompt, the completions with raw and adjusted rewards and "
    "advantages, and what the method reported",
    "metrics": "one line for each logged step",
    "evaluation": "one line for each held-out problem, at each moment of the training: every completion and whether "
    "its answer is correct",
}


def publish(options: argparse.Namespace) -> int:
    """Send a run to the hub, or list what would be sent -> the exit code.

    Args:
        options: `run` is the folder, `to` the name of the model on the hub, `dataset` that of the data set, each None
            where nothing of it is sent; `private`, `license`, `revision`, and `dry_run`.

    Raises:
        ValueError: The run has nothing to send, a name is none of the hub, or the hub refuses.
    """
    run: Path = options.run
    if not options.to and not options.dataset:
        raise ValueError("Give --to NAME for the model, --dataset NAME for the groups and evaluations, or both.")
    if not run_folder.is_recorded(run):
        raise ValueError(f"{str(run)!r} must be the folder of a run, got none. Name a folder of manypaths train.")
    check_credentials(run_folder.read_recipe_content(run), run)
    records = _records(run) if options.dataset else []
    if options.to and not (run / run_folder.MODEL).is_dir():
        raise ValueError(f"{str(run)!r} has no {run_folder.MODEL}/. Finish the training, or send --dataset alone.")
    if options.dry_run:
        _list(run, options, records)
        return 0
    if options.to:
        print(f"Model: {send_model(run, options.to, options.private, options.license, options.revision)}", flush=True)
    if options.dataset:
        print(f"Data set: {_send_records(run, records, options)}", flush=True)
    return 0


def check_credentials(settings: Any, run: Path) -> None:
    """Raise ValueError where the settings of a run hold a credential, which would be published with them."""
    if names := credentials_in(settings):
        raise ValueError(
            f"The settings of {str(run)!r} are published, and must hold no credential, got {listed(names)}. Read it "
            "from an environment variable in the function that needs it, and leave it out of the settings."
        )


def make_repository(name: str, private: bool | None = None, kind: str = "model") -> Any:
    """Make a model or a data set on the hub unless it is there -> its address, with `repo_id`.

    Args:
        name: user/name on the hub, or a name of the user whose token is used.
        private: Whether it is private where it is made; None for the user's or the organisation's default.
        kind: model or dataset.

    Raises:
        ValueError: The hub refuses or does not answer.
    """
    from huggingface_hub import HfApi

    with _sending(name):
        return HfApi().create_repo(name, repo_type=kind, private=private, exist_ok=True)


def keep_from_hub(checkpoints: Path) -> None:
    """Write .gitignore into the folder that TRL sends to the hub with each checkpoint.

    The patterns that Trainer passes to upload_folder are fixed, and let `ARGUMENTS` through. The hub leaves out of
    every commit what the .gitignore in the root of a repository names, at any depth (huggingface_hub's guide on
    uploads).
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    atomic_write(checkpoints / ".gitignore", "".join(f"{name}\n" for name in KEPT_HERE))


def send_model(
    run: Path, name: str, private: bool | None = None, license: str | None = None, revision: str | None = None
) -> str:
    """Write the card of a finished run, and send RUN/model to the hub in one commit.

    Args:
        run: The folder of the run.
        name: As in `make_repository`.
        private: As in `make_repository`.
        license: As in `write_card`.
        revision: A branch; None for the main one.

    Returns:
        The address of the model.

    Raises:
        ValueError: The run has no weights, or the hub refuses or does not answer.
    """
    from huggingface_hub import HfApi

    write_card(run, name.rpartition("/")[2], license)
    made = make_repository(name, private)
    with _sending(name):
        HfApi().upload_folder(
            repo_id=made.repo_id,
            folder_path=run / run_folder.MODEL,
            commit_message=f"Weights after the training {run.resolve().name}",
            revision=revision,
            ignore_patterns=[ARGUMENTS],
        )
    return str(made)


def _send_records(run: Path, records: list[Path], options: argparse.Namespace) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi

    card = dataset_card(options.dataset, records, run, options.to, options.license)
    made = make_repository(options.dataset, options.private, "dataset")
    with _sending(options.dataset):
        files = [CommitOperationAdd(path.relative_to(run).as_posix(), path) for path in records]
        operations = [*files, CommitOperationAdd(run_folder.CARD, card.encode("utf-8"))]
        HfApi().create_commit(
            made.repo_id,
            operations,
            repo_type="dataset",
            commit_message=f"Records of the training {run.resolve().name}",
            revision=options.revision,
        )
    return str(made)


def dataset_card(name: str, records: list[Path], run: Path, model: str | None, license: str | None) -> str:
    """The README.md of a data set with the records of a run; it says how each file is loaded.

    Args:
        name: The name of the data set on the hub.
        records: The files, in the folder `run`.
        run: The folder of the run.
        model: The name of the model on the hub; None where it is not sent.
        license: As in `write_card`.
    """
    held = {path.relative_to(run).as_posix() for path in records if path.suffix == ".jsonl"}
    shown = {part: files for part, files in LINES.items() if any(Path(path).match(files) for path in held)}
    metadata: dict[str, Any] = {"license": license} if license else {}
    metadata |= {"tags": ["manypaths", "trl", "grpo", "rollouts"]}
    metadata["configs"] = [{"config_name": part, "data_files": files} for part, files in shown.items()]
    parts = "\n".join(f"- `{part}`: {MEANINGS[part]}" for part in shown)
    of_model = f" of [{model}](https://huggingface.co/{model})" if hub_id(model) else ""
    return (
        f"---\n{to_yaml(metadata)}---\n\n# {code(name.rpartition('/')[2])}\n\n"
        f"Records of the training{of_model} by manypaths. The completions are the output of a language model and were "
        f"not reviewed.\n\n{parts}\n\n"
        "The files are those of the run folder: `manypaths inspect`, `compare` and `check` "
        "read a copy of them.\n"
    )


def _records(run: Path) -> list[Path]:
    folder = run / run_folder.EVALUATION
    inside = [path for path in sorted(folder.rglob("*")) if path.suffix in (".json", ".jsonl")]
    records = [run / name for name in RECORDS if (run / name).is_file()] + inside
    return [path for path in records if not path.name.startswith(".")]


def _list(run: Path, options: argparse.Namespace, records: list[Path]) -> None:
    if options.to:
        model = run / run_folder.MODEL
        paths = [path for path in sorted(model.rglob("*")) if path.is_file() and path.name != ARGUMENTS]
        written = {model / run_folder.CARD, model / run_folder.RECIPE}
        _print_files(f"Model {options.to}", model, sorted({*paths, *written}))
    if options.dataset:
        _print_files(f"Data set {options.dataset}", run, [*records, run / run_folder.CARD])
    print("Nothing was sent or written.")


def _print_files(title: str, folder: Path, paths: list[Path]) -> None:
    print(f"{one_line(title)}:")
    for path in paths:
        size = f"{path.stat().st_size:,} bytes" if path.is_file() else "to be written"
        print(f"  {path.relative_to(folder)}  {size}")


@contextmanager
def _sending(name: str) -> Iterator[None]:
    """A context in which an error of the hub or of the network becomes a sentence."""
    try:
        yield
    except Exception as error:
        reason = one_line(error, 400).rstrip(".")
        raise ValueError(
            f"{one_line(name, 100)} was not sent to the hub: {type(error).__name__}: {reason}. The run is unchanged. "
            "Log in with `hf auth login` or set HF_TOKEN, to a token that may write; the same command sends it again."
        ) from error
