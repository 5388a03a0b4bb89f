"""Words and shapes that several detectors share: months, dates, streets, organisations, honorifics."""

from __future__ import annotations

from governance.detect.detectors.dictionaries import entries

HONORIFICS = frozenset(entries("honorifics"))

ORGANISATION_WORDS = frozenset(entries("organisation_words"))
"""Words of which a person's name has none, in lower case."""

AFTER_NAMES = ORGANISATION_WORDS | frozenset(entries("after_names"))
"""Words that stand behind a name in forms and letters and end it, in lower case."""

NOT_GREETED = frozenset(entries("not_greeted"))
"""Forms of address that follow a greeting and are no name, in lower case."""

AMBIGUOUS_CITIES = frozenset(entries("ambiguous_cities"))
"""Cities that are also words, family names or given names: in text they do not count by themselves."""

COMMON_WORDS = frozenset(entries("common_words"))
"""Capitalised words that open no name, although a dictionary of names has some of them."""

PLACEHOLDERS = frozenset(entries("placeholders")) | {""}
"""What people type where there is no value, in lower case."""


CONDITION_SUFFIXES = (
    "itis",
    "emia",
    "aemia",
    "osis",
    "pathy",
    "oma",
    "algia",
    "penia",
    "plegia",
    "uria",
    "ismus",
    "pathie",
)
MEDICATION_SUFFIXES = (
    "pril", "sartan", "statin", "olol", "cillin", "mycin", "prazole", "conazole", "mab", "tinib", "gliptin", "gliflozin",
    "dipine", "floxacin", "cycline", "oxetine", "azepam", "triptan", "lukast", "parin", "xaban", "vudine", "tidine",
)  # fmt: skip

MONTHS = (
    "jan(?:uary|uar|vier)?|ene(?:ro)?|feb(?:ruary|ruar|rero)?|f[eé]vr(?:ier)?|mar(?:ch|s|zo)?|m[aä]rz|apr(?:il)?|avr(?:il)?|abr(?:il)?"
    "|may|mai|mayo|jun(?:e|i|io)?|juin|jul(?:y|i|io)?|juillet|aug(?:ust)?|ao[uû]t|ago(?:sto)?|sep(?:t|tember|tembre|tiembre)?"
    "|set(?:iembre)?|o[ck]t(?:ober|obre|ubre)?|nov(?:ember|embre|iembre)?|de[cz](?:ember)?|d[eé]c(?:embre)?|dic(?:iembre)?"
)
"""Names and abbreviations of months in English, German, French and Spanish; for use without regard to case."""

_DAY = "(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH = "(?:0?[1-9]|1[0-2])"
_YEAR = "(?:1[89]|20)[0-9]{2}"
_TIME = (
    r"(?:[T ,]{1,2}[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?(?: ?[ap]\.?m\.?)?"
    r"(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2}))?)?"
)

NUMERIC_DATE = (
    rf"(?:{_YEAR}([-/.]){_MONTH}[-/.]{_DAY}|{_MONTH}[-/]{_DAY}[-/](?:{_YEAR}|[0-9]{{2}})|{_DAY}[-/]{_MONTH}[-/](?:{_YEAR}|[0-9]{{2}})"
    rf"|{_DAY}\. ?{_MONTH}\. ?(?:{_YEAR}|[0-9]{{2}}))"
).replace("([-/.])", "[-/.]")
WRITTEN_DATE = (
    rf"(?:(?:{MONTHS})\.?[ -]{_DAY}(?:st|nd|rd|th)?,?[ -]{_YEAR}"
    rf"|{_DAY}(?:st|nd|rd|th|er|º|\.)?[ -](?:de )?(?:of )?(?:{MONTHS})\.?,?[ -](?:del? )?(?:{_YEAR}|[0-9]{{2}}))"
)
DATE = rf"(?:{NUMERIC_DATE}|{WRITTEN_DATE}){_TIME}"
"""A whole date; for use without regard to case. Fields are plausible, not checked against the calendar."""

EN_STREET = (
    r"street|st|avenue|ave|av|road|rd|drive|dr|lane|ln|boulevard|blvd|court|ct|circle|cir|place|pl|terrace|ter|terr|way|parkway|pkwy|pky"
    r"|highway|hwy|square|sq|trail|trl|loop|plaza|plz|alley|row|run|path|pike|turnpike|tpke|crescent|crossing|xing|freeway|fwy|route|rte"
    r"|expressway|broadway|walk|close|gardens|grove|mews|hill|ways|park|bridge|center|ctr|point|pt|cove|cv|ridge|rdg|view|glen|landing"
    r"|extension|extensions|burgs?|camp|canyon|cape|causeway|club|common|corners?|course|creek|dale|dam|divide|estates?|fall|falls|ferry"
    r"|fields?|flats?|fords?|forest|forge|forks?|fort|gateway|green|harbors?|haven|heights|hollow|inlet|islands?|isle|junctions?|keys?"
    r"|knolls?|lakes?|light|locks?|lodge|mall|manors?|meadows?|mills?|mission|mount|mountains?|neck|orchard|oval|overpass|pass|passage"
    r"|pines?|plains?|ports?|prairie|radial|ramp|ranch|rapids?|rest|river|shoals?|shores?|skyway|springs?|spurs?|station|stravenue|stream"
    r"|summit|throughway|trace|track|trafficway|tunnel|underpass|unions?|valleys?|via|viaduct|villages?|ville|vista|wells?"
)
_ES_FR_STREET = (
    r"rue|avenue|av|boulevard|bd|chemin|place|impasse|all[eé]e|quai|cours|route|passage|square|calle|c/|avenida|avda|av|plaza|paseo"
    r"|carrera|cra|kr|cl|clle|cll|camino|carretera|ronda|rambla|traves[ií]a|pasaje|glorieta|cuesta|callej[oó]n|ca[nñ]ada|alameda|acceso"
    r"|urbanizaci[oó]n|vial?|via|c\.|transversal|diagonal|tv|dg|pje|pza|cuesta"
)
STREET_NAME = (
    rf"[\w'’.]+ +(?:{EN_STREET})\b|(?:stra(?:ß|ss)e|str\.|gasse|allee|platz|damm|weg)\b"
    rf"|(?:^|[^\w])(?:{_ES_FR_STREET})\.? +[^\W\d]"
)
STREET = (
    rf"(?:^|[^\w])#?[0-9]{{1,6}}[a-z]?(?:[-/][0-9]{{1,5}})?,? +(?:[\w.'’-]+ +){{0,4}}?"
    rf"(?:[\w'’-]*[a-z](?<![0-9]) +)?(?:{EN_STREET})\b"
    rf"|(?:stra(?:ß|ss)e|str\.|gasse|allee|platz|ring|ufer|damm|weg)\s*[0-9]{{1,4}}"
    rf"|(?:^|[^\w])(?:{_ES_FR_STREET})\.? +(?:[\w.'’-]+[ ,]+){{0,5}}?(?:n[ºo°]?\.? ?|#)?[0-9]{{1,5}}"
    rf"|(?:^|[^\w])[0-9]{{1,4}}(?: ?(?:bis|ter))?,? +(?:{_ES_FR_STREET})\.? +[^\W\d]"
    r"|\bp\.? ?o\.? ?box +[0-9]+|\bpostfach +[0-9]+|\bapartado +[0-9]+"
)
"""Street addresses in the customs of four languages; for Python's ``re`` without regard to case."""
