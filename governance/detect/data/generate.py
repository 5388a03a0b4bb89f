"""Writes the generated dictionaries of this folder from Faker's providers.

Run ``python -m governance.detect.data.generate`` with the ``demo`` extra installed, then review the
diff. Faker is MIT licensed; README.md states the provenance of every file.
"""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

NAME_LOCALES = (
    "en_US", "en_GB", "en_IN", "de_DE", "de_AT", "de_CH", "fr_FR", "fr_CA", "es_ES", "es_MX",
    "it_IT", "nl_NL", "pt_BR", "pl_PL", "sv_SE",
)  # fmt: skip
CITY_LOCALES = ("de_DE", "de_AT", "de_CH", "pl_PL", "sv_SE")


def _provider(kind: str, locale: str) -> type:
    module = importlib.import_module(f"faker.providers.{kind}.{locale}")
    provider: type = module.Provider
    return provider


def _pool(provider: type, prefix: str) -> set[str]:
    words: set[str] = set()
    for attribute in dir(provider):
        if attribute.startswith(prefix) and not attribute.endswith("_est"):
            pool = getattr(provider, attribute)
            if isinstance(pool, Iterable) and not isinstance(pool, str):
                words.update(word for word in pool if isinstance(word, str))
    return words


def _clean(words: Iterable[str]) -> list[str]:
    kept = {unicodedata.normalize("NFC", word.strip()) for word in words}
    return sorted(w for w in kept if len(w) > 2 and w.replace("-", "").isalpha() and w[0].isupper())


def _write(name: str, words: Iterable[str]) -> None:
    path = Path(__file__).parent / name
    path.write_text("\n".join(words) + "\n", encoding="utf-8")


def main() -> None:
    """Write given_names.txt, family_names.txt, cities_generated.txt and countries.txt."""
    given: set[str] = set()
    family: set[str] = set()
    for locale in NAME_LOCALES:
        provider = _provider("person", locale)
        given |= _pool(provider, "first_names")
        family |= _pool(provider, "last_names")
    _write("given_names.txt", _clean(given))
    _write("family_names.txt", _clean(family))
    cities: set[str] = set()
    for locale in CITY_LOCALES:
        cities |= _pool(_provider("address", locale), "cities")
    dates = importlib.import_module("faker.providers.date_time").Provider
    cities |= {country.capital for country in dates.countries}
    _write("cities_generated.txt", sorted(c for c in cities if len(c) > 3 and "(" not in c))
    names = {country.name for country in dates.countries}
    for locale in ("en_US", "de_DE", "fr_FR", "es_ES"):
        names |= set(getattr(_provider("address", locale), "countries", ()))
    _write("countries.txt", sorted(names))
    _write(
        "country_codes.txt",
        sorted({code for c in dates.countries for code in (c.alpha_2_code, c.alpha_3_code)}),
    )


if __name__ == "__main__":
    main()
