"""YAML whose numbers are those of YAML 1.2, read and written so that every value survives."""

from __future__ import annotations

import re
from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"


def to_yaml(content: Any) -> str:
    """YAML that `Loader` reads as equal content: texts that it would read as another type are quoted."""
    return yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def canonical(content: Any) -> Any:
    """The content with whole floats as integers, so that 1 and 1.0 are one setting where no type says which it is."""
    if isinstance(content, dict):
        return {key: canonical(value) for key, value in content.items()}
    if isinstance(content, list):
        return [canonical(value) for value in content]
    return int(content) if isinstance(content, float) and content.is_integer() else content


def from_yaml(text: str | bytes, name: str) -> Any:
    """The content of a YAML text. Raises ValueError, which begins with `name`, where it is not YAML."""
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not YAML: {' '.join(str(error).split())}") from error


class Loader(yaml.SafeLoader):
    """SafeLoader with the numbers of YAML 1.2: 1e-6 is a number, as people write learning rates.

    Texts that YAML 1.1 would read as another number, 010 as 8 and 12:00 as 720, and dates stay texts. A key that stands
    twice in one mapping is an error, as YAML has it; PyYAML would drop the first one without a word.
    """

    def compose_mapping_node(self, anchor: Any) -> Any:
        """The node of a mapping. Raises ComposerError for a repeated key."""
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if (key.tag, key.value) in keys:
                    problem = f"the key {key.value!r} is there twice"
                    raise yaml.composer.ComposerError("in a mapping", node.start_mark, problem, key.start_mark)
                keys.add((key.tag, key.value))
        return node


class Dumper(yaml.SafeDumper):
    """SafeDumper for `Loader`: quotes texts that look like its numbers, escapes line ends that PyYAML would indent."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        style = '"' if re.search("[\x85\u2028\u2029]", text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


Dumper.add_representer(str, Dumper.represent_str)

TEXT = "tag:yaml.org,2002:str"
AS_TEXT = re.compile(
    r"([-+]?0[0-9_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?)$"
)
for side in (Loader, Dumper):
    side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
    )
    rules = side.yaml_implicit_resolvers
    side.yaml_implicit_resolvers = {first: [(TEXT, AS_TEXT), *those] for first, those in rules.items()}
