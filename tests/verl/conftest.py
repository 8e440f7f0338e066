"""verl's own configuration, Ray and TransferQueue, on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
os.environ["VERL_USE_EXTERNAL_MODULES"] = "cpu_platform"
os.environ["VERL_PLATFORM"] = "cpu"
os.environ["VERL_ENGINE_DEVICE"] = "cuda"

import pytest
from hydra import compose, initialize_config_module

GROUPS = ["algorithm.adv_estimator=grpo", "actor_rollout_ref.rollout.n=4"]


@pytest.fixture(scope="session")
def elsewhere():
    """The environment of a user's command: without the platform of these tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VERL_")}


@pytest.fixture(scope="session")
def configure():
    """`configure("trainer.test_freq=5", ...)`: verl's own configuration with these overrides, as its command reads it.

    One of our trainer's mode and of groups of four comes first.
    """

    def configured(*overrides):
        with initialize_config_module("verl.trainer.config", version_base=None):
            return compose("ppo_trainer", ["trainer.v1.trainer_mode=manypaths", *GROUPS, *overrides])

    return configured


@pytest.fixture(scope="session")
def queue(configure):
    """A TransferQueue in a Ray of this machine."""
    import ray
    import transfer_queue as tq

    ray.init(num_cpus=24, num_gpus=3, include_dashboard=False, log_to_driver=False)  # for fewer CPUs it waits forever
    single_unit = "transfer_queue.backend.SimpleStorage.num_data_storage_units=1"
    tq.init(configure("transfer_queue.enable=true", single_unit).transfer_queue)
    yield tq
    tq.close()
    ray.shutdown()


@pytest.fixture(scope="session")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def trainer(configure, queue, tokenizer):
    """`trainer("+diversity.method=mmr")`: the trainer that verl's command would make, without its models."""
    from verl.trainer.ppo.v1.trainer_base import get_trainer_cls

    def make(*overrides, kind=None):
        config = configure(*overrides)
        ours = (kind or get_trainer_cls(config.trainer.v1.trainer_mode))(config)
        ours.tokenizer = tokenizer
        return ours

    return make
