"""The Hugging Face hub is asked once, briefly; where it does not answer, its clients look into their cache alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 10.0  # seconds for the hub's first answer


class NotOnTheHub(ValueError):
    """The hub says that there is no such thing, or none for this user."""


@contextmanager
def answering(kind: str, name: str, revision: str | None = None) -> Iterator[bool]:
    """Whether the hub answers for a `model` or `dataset`; within this, its clients are offline where it does not.

    That saves minutes of retries. Raises NotOnTheHub.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    answers = True
    try:
        getattr(HfApi(), f"{kind}_info")(name, revision=revision, timeout=PATIENCE)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise NotOnTheHub(f"is not on the hub, or is closed to you: {error}") from error
    except Exception:  # no network, no answer, or an answer that says nothing of it
        answers = False
    with _offline(not answers):
        yield answers


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    from huggingface_hub import constants

    switches: list[Any] = [constants]
    if "datasets" in sys.modules:  # it has a switch of its own
        switches.append(sys.modules["datasets"].config)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches:
        switch.HF_HUB_OFFLINE = wanted or switch.HF_HUB_OFFLINE
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value
