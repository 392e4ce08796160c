"""Every sentence of the pages, in one file per language: texts/nl.yaml, and texts/en.yaml for operators' pages."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from bekend_proto.errors import InternalError

_FOLDER = Path(__file__).with_name("texts")
# libyaml reads the same language ten times faster; every wheel of PyYAML carries it.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@cache
def texts(language: str) -> Mapping[str, str]:
    """Key to sentence, for one language: sections of the file joined to their keys with a dot."""
    tree = yaml.load((_FOLDER / f"{language}.yaml").read_text("utf-8"), Loader=_LOADER)  # noqa: S506
    return {f"{section}.{key}": text for section, lines in tree.items() for key, text in lines.items()}


class Texts:
    """The sentences of one language, as templates use them: `t("inloggen.als", naam=...)`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = texts(language)

    def __call__(self, key: str, /, **values: object) -> str:
        """The sentence with its values filled in. Raises InternalError for a key that does not exist."""
        try:
            return self._texts[key].format(**values)
        except KeyError as missing:
            raise InternalError(f"no text, or no value for it: {key}, {missing}") from None
