"""Which settings are credentials, by their names: they are not recorded of a script, and not published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "<hidden>"
NAMES = re.compile(r"(?:^|_)(?:token|api_?key|access_?key|secret|secret_?key|password|passwd|credentials?)$", re.I)
OF_TOKENIZERS = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


def is_credential(name: object, value: object) -> bool:
    """Whether a setting is a token, a key of an API or a password; <hidden> and <HUB_TOKEN> stand for one."""
    if not isinstance(value, str) or not value or re.fullmatch(r"<\w+>", value):
        return False
    return str(name) not in OF_TOKENIZERS and NAMES.search(str(name)) is not None


def credentials_in(settings: Any, within: str = "") -> list[str]:
    """The names of all credentials in nested settings, such as reward_options.judge.api_key."""
    if isinstance(settings, Mapping):
        pairs = [(f"{within}{name}", name, value) for name, value in settings.items()]
        own = [path for path, name, value in pairs if is_credential(name, value)]
        return own + [inner for path, _, value in pairs for inner in credentials_in(value, f"{path}.")]
    if isinstance(settings, (list, tuple)):
        return [inner for value in settings for inner in credentials_in(value, within)]
    return []
