"""`EvaluateProblems`: evaluations on held-out problems during a training by a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from manypaths import checkpoint
from manypaths.callbacks.evaluations import evaluate_at, shards_weights
from manypaths.callbacks.script import begin, check_trainer, end
from manypaths.evaluation.distinct import check_keys
from manypaths.evaluation.sampling import Sampler, Sampling, sampler, settings_of
from manypaths.evaluation.summary import moments
from manypaths.problems import PROMPT, Problem
from manypaths.results import ANSWER, COUNTS, SUMMARY, check_settings
from manypaths.run_folder import EVALUATION


class EvaluateProblems(TrainerCallback):
    """Evaluates the model of TRL's GRPOTrainer or RLOOTrainer on held-out problems: before, during, after training.

    `manypaths compare` reads the results. The training is not changed: random states and the mode of the model are as
    they were. With several processes each one samples its share.

    Args:
        trainer: the trainer, to which the callback is then added.
        problems: from `manypaths.problems.load`, or rows {"prompt", "answer"} with prompts as in training; of chat
            messages all but the last must be the same in all rows, and the last is the user's.
        out: the run folder; None for the trainer's `output_dir`. It should be that of `RecordGroups`.
        every: the model is evaluated after every so many steps; None for before and after the training only.
        samples: completions per problem.
        temperature, top_p, max_new_tokens: None for those of the training. Temperature 0 is greedy. Of a
            generation_config nothing else counts.
        batch_size: completions that are sampled together.
        seed: that of the evaluation.
        prompt: a text or chat messages with {question}, around the questions of `manypaths.problems.load`; None for
            that of `manypaths evaluate`.
        name: the name of the problem set in a comparison.
        keys: the keys function by which distinct right answers are counted.

    Raises:
        ValueError: for another trainer, for problems and numbers that cannot be used, for ZeRO-3, FSDP and
            `load_best_model_at_end`; when the training begins, for a folder with the records of another training.

    Example:
        >>> trainer.add_callback(EvaluateProblems(trainer, problems, every=50, samples=8))
    """

    def __init__(
        self,
        trainer: Any,
        problems: Sequence[Problem] | Sequence[Mapping[str, Any]],
        out: str | Path | None = None,
        *,
        every: int | None = 50,
        samples: int = 8,
        temperature: float | None = None,
        top_p: float | None = None,
        max_new_tokens: int | None = None,
        batch_size: int = 32,
        seed: int = 1,
        prompt: str | list[dict[str, str]] | None = None,
        name: str = "held-out",
        keys: str = ANSWER,
    ) -> None:
        check_trainer("EvaluateProblems", trainer)
        if every is not None and every < 1:
            raise ValueError(f"every must be a number of steps, 1 or more, got {every}.")
        _check_weights(trainer.args)
        check_keys(keys)
        tokenizer = trainer.processing_class
        self.tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        self.problems, self.prompt = _read(problems, prompt)
        if not isinstance(self.prompt, str) and self.tokenizer.chat_template is None:
            raise ValueError("prompt must be a text for a model without a chat template, such as '{question} '.")
        args = trainer.args
        self.sampling = Sampling(
            samples=samples,
            temperature=args.temperature if temperature is None else temperature,
            top_p=args.top_p if top_p is None else top_p,
            max_new_tokens=max_new_tokens or args.max_completion_length or 256,
            batch_size=batch_size,
            seed=seed,
            dtype=str(trainer.model.dtype).removeprefix("torch."),
        )
        self.trainer, self.every, self.name = trainer, every, name
        self.run = Path(out or args.output_dir)
        self.folder = self.run / EVALUATION
        self.settings = settings_of(
            self.sampling, model=str(self.run), backend="transformers", prompt=self.prompt, keys=keys
        )

    def on_train_begin(self, args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        begin(self.run, self.trainer, state)
        if state.global_step == 0 and self.trainer.accelerator.is_main_process:
            self._drop_before()
        self.trainer.accelerator.wait_for_everyone()
        if moments(self.folder):
            check_settings(self.folder, self.settings)
        self._evaluate("before" if state.global_step == 0 else None, state, model)

    def on_step_end(self, args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        self._evaluate(None, state, model)

    def on_train_end(self, args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        self._evaluate("after", state, model)
        end(self.run, self.trainer, state)

    def _evaluate(self, moment: str | None, state: Any, model: Any) -> None:
        """Evaluate at a moment; None is step-N where that is due."""
        step = state.global_step
        if moment is None:
            if self.every is None or step % self.every or step >= state.max_steps:
                return
            moment = f"step-{step}"
        training = model.training
        evaluate_at(moment, step, self.folder, self.problems, self.name, self._sampler(model), self.settings)
        model.train(training)  # else TRL would log the next step as an evaluation

    def _sampler(self, model: Any) -> Sampler:
        """Completions end, as in TRL, at the end tokens of the model and at that of its tokenizer."""
        ends = [*checkpoint.model_end_tokens(model), *checkpoint.end_tokens(self.tokenizer, [])]
        own = model.generation_config.eos_token_id
        model.generation_config.eos_token_id = list(dict.fromkeys(ends)) or None
        try:
            return sampler(model, self.tokenizer, self.sampling)
        finally:
            model.generation_config.eos_token_id = own

    def _drop_before(self) -> None:
        """Remove the evaluation before a training that ended in its first step, of other weights perhaps."""
        for path in [*self.folder.glob("before.jsonl*"), self.folder / SUMMARY, self.folder / COUNTS]:
            path.unlink(missing_ok=True)


def _check_weights(args: Any) -> None:
    if shards_weights(args):
        raise ValueError(
            "EvaluateProblems must be left out with ZeRO-3 and FSDP, where each process has a part of the weights. "
            "Evaluate the checkpoints: manypaths evaluate CHECKPOINT."
        )
    if args.load_best_model_at_end:
        raise ValueError(
            "load_best_model_at_end must be False with EvaluateProblems, which evaluates the weights of the last step."
        )


def _read(problems: Sequence[Any], prompt: Any) -> tuple[list[Problem], Any]:
    """The problems, and the prompt around their questions."""
    rows = list(problems)
    if not rows:
        raise ValueError("problems must be one or more, got none.")
    if all(isinstance(row, Problem) for row in rows):
        prompt = PROMPT if prompt is None else prompt
        if "{question}" not in str(prompt):
            raise ValueError(f"prompt must be a text or messages with {{question}}, got {prompt!r}.")
        return rows, prompt
    if prompt is not None:
        raise ValueError("prompt must be left out with rows that have prompts.")
    if not all(isinstance(row, Mapping) and {"prompt", "answer"} <= row.keys() for row in rows):
        raise ValueError("problems must be of manypaths.problems.load, or rows with the keys prompt and answer.")
    if all(isinstance(row["prompt"], str) for row in rows):
        return _numbered([row["prompt"] for row in rows], rows), "{question}"
    first: list[Any] = [dict(message) for message in rows[0]["prompt"][:-1]]
    for number, row in enumerate(rows):
        if not _continues(row["prompt"], first):
            raise ValueError(
                "Prompts must be texts, or chat messages that differ in their last one alone, a text of the user, got "
                f"another at problem {number}."
            )
    question = {"role": "user", "content": "{question}"}
    return _numbered([row["prompt"][-1]["content"] for row in rows], rows), [*first, question]


def _continues(prompt: Any, first: list[Any]) -> bool:
    """Whether a prompt is these messages and then a text of the user."""
    if isinstance(prompt, str) or not prompt or list(prompt[:-1]) != first:
        return False
    return prompt[-1].get("role") == "user" and isinstance(prompt[-1].get("content"), str)


def _numbered(texts: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[Problem]:
    pairs = zip(texts, rows, strict=True)
    return [Problem(str(number), text, str(row["answer"])) for number, (text, row) in enumerate(pairs)]
