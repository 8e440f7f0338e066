"""Files as other software writes them, for the tests of importers."""

import json


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lighteval(path, results, model="model"):
    """A results file as lighteval writes it; `results` maps tasks to metrics, or to an accuracy."""
    metrics = {
        task: {"extractive_match": metrics, "extractive_match_stderr": 0.05} if isinstance(metrics, float) else metrics
        for task, metrics in results.items()
    }
    general = {"lighteval_sha": "?", "model_name": model, "total_evaluation_time_secondes": "1721.39"}
    return write(path, json.dumps({"config_general": general, "results": metrics, "versions": {}}))


def state(path, log, **more):
    step = max([0, *(entry.get("step", 0) for entry in log)])
    return write(path, json.dumps({"global_step": step, "log_history": log, **more}))


def numbered(values, key="step_time", every=1):
    return [{"step": (at + 1) * every, key: value} for at, value in enumerate(values)]


def lm_eval(path, results, model=None, **more):
    """A results file as lm-evaluation-harness 0.4 writes it; `results` maps tasks to metrics."""
    tasks = {task: {"alias": task, "sample_len": 90, **metrics} for task, metrics in results.items()}
    config = {"model": "hf", "model_args": f"pretrained={model},dtype=bfloat16"} if model else {"model": "hf"}
    return write(path, json.dumps({"results": tasks, "configs": {}, "n-shot": {}, "config": config, **more}))


def json_lines(path, lines):
    return write(path, "".join(json.dumps(line) + "\n" for line in lines))
