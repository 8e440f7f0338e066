"""One short request to the Hugging Face hub; where the hub does not answer, its clients only use their cache."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 10.0  # seconds to wait for the hub's answer


class NotOnTheHub(ValueError):
    """The hub has no such model or data set, or none that this user may read."""


def is_offline() -> bool:
    """Whether the hub's clients use their cache alone, as with HF_HUB_OFFLINE=1."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextmanager
def answering(kind: str, name: str, revision: str | None = None) -> Iterator[bool]:
    """A context in which the hub's clients are offline if the hub does not answer, which saves minutes of retries.

    Args:
        kind: 'model' or 'dataset'.
        name, revision: on the hub.

    Yields:
        Whether the hub answers.

    Raises:
        NotOnTheHub: the hub answers that it has no such model or data set, or that this user may not read it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    answers = True
    try:
        getattr(HfApi(), f"{kind}_info")(name, revision=revision, timeout=PATIENCE)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise NotOnTheHub(f"is not on the hub, or is closed to you: {error}") from error
    except Exception:  # no network, no answer, or an error of the hub
        answers = False
    with _offline(not answers):
        yield answers


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    from huggingface_hub import constants

    switches: list[Any] = [constants]
    if "datasets" in sys.modules:  # datasets has a switch of its own
        switches.append(sys.modules["datasets"].config)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches:
        switch.HF_HUB_OFFLINE = offline or switch.HF_HUB_OFFLINE
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value
