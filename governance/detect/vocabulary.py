"""Words and shapes that several detectors share: months, street words, honorifics, organisations."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HONORIFICS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "miss",
        "mx",
        "dr",
        "prof",
        "sir",
        "madam",
        "rev",
        "fr",
        "sr",
        "sra",
        "srta",
        "herr",
        "frau",
        "m",
        "mme",
        "mlle",
        "don",
        "dona",
        "señor",
        "señora",
        "judge",
        "hon",
    ]
)

ORGANISATION_WORDS = frozenset(
    [
        "inc",
        "llc",
        "ltd",
        "corp",
        "corporation",
        "company",
        "co",
        "gmbh",
        "ag",
        "sa",
        "sas",
        "srl",
        "lp",
        "llp",
        "pllc",
        "pc",
        "plc",
        "foundation",
        "association",
        "society",
        "club",
        "school",
        "elementary",
        "academy",
        "college",
        "university",
        "institute",
        "hospital",
        "clinic",
        "center",
        "centre",
        "church",
        "temple",
        "library",
        "museum",
        "park",
        "street",
        "avenue",
        "road",
        "drive",
        "lane",
        "boulevard",
        "plaza",
        "place",
        "square",
        "district",
        "county",
        "city",
        "town",
        "village",
        "state",
        "department",
        "office",
        "bureau",
        "agency",
        "authority",
        "commission",
        "council",
        "committee",
        "board",
        "service",
        "services",
        "group",
        "partners",
        "holdings",
        "bank",
        "trust",
        "fund",
        "store",
        "market",
        "restaurant",
        "cafe",
        "grill",
        "bar",
        "pizza",
        "salon",
        "shop",
        "auto",
        "motors",
        "hotel",
        "inn",
        "apartments",
        "tower",
        "building",
        "house",
        "station",
        "bridge",
        "river",
        "lake",
        "creek",
        "island",
        "beach",
        "mountain",
        "hills",
        "heights",
        "valley",
        "garden",
        "gardens",
        "ranch",
        "farm",
        "estates",
        "health",
        "medical",
        "dental",
        "pharmacy",
        "care",
        "home",
        "homes",
        "community",
        "center",
        "program",
        "project",
        "system",
        "systems",
        "solutions",
        "technologies",
        "international",
        "national",
        "american",
        "united",
        "north",
        "south",
        "east",
        "west",
        "new",
        "of",
        "the",
        "and",
        "for",
        "de",
        "del",
        "la",
        "las",
        "los",
        "enterprises",
        "industries",
        "construction",
        "consulting",
        "management",
        "properties",
        "realty",
        "insurance",
        "associates",
    ]
) - {"de", "del", "la", "las", "los"}

NOT_GREETED = frozenset(
    [
        "customer",
        "client",
        "team",
        "support",
        "sir",
        "madam",
        "all",
        "everyone",
        "everybody",
        "there",
        "colleague",
        "colleagues",
        "friend",
        "friends",
        "user",
        "world",
        "hiring",
        "valued",
        "member",
        "members",
        "guest",
        "doctor",
        "nurse",
        "patient",
        "what",
        "how",
        "why",
        "when",
        "where",
        "can",
        "could",
        "i",
        "we",
        "you",
        "please",
        "damen",
        "herren",
        "kunde",
        "zusammen",
        "tous",
        "madame",
        "monsieur",
        "equipo",
        "cliente",
    ]
)

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
    "itis,",
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
_TIME = r"(?:[T ,]{1,2}[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?(?: ?[ap]\.?m\.?)?(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2}))?)?"

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
STREET_NAME = rf"[\w'’.]+ +(?:{EN_STREET})\b|(?:stra(?:ß|ss)e|str\.|gasse|allee|platz|damm|weg)\b|(?:^|[^\w])(?:{_ES_FR_STREET})\.? +[^\W\d]"
STREET = (
    rf"(?:^|[^\w])#?[0-9]{{1,6}}[a-z]?(?:[-/][0-9]{{1,5}})?,? +(?:[\w.'’-]+ +){{0,4}}?(?:[\w'’-]*[a-z](?<![0-9]) +)?(?:{EN_STREET})\b"
    rf"|(?:stra(?:ß|ss)e|str\.|gasse|allee|platz|ring|ufer|damm|weg)\s*[0-9]{{1,4}}"
    rf"|(?:^|[^\w])(?:{_ES_FR_STREET})\.? +(?:[\w.'’-]+[ ,]+){{0,5}}?(?:n[ºo°]?\.? ?|#)?[0-9]{{1,5}}"
    rf"|(?:^|[^\w])[0-9]{{1,4}}(?: ?(?:bis|ter))?,? +(?:{_ES_FR_STREET})\.? +[^\W\d]"
    r"|\bp\.? ?o\.? ?box +[0-9]+|\bpostfach +[0-9]+|\bapartado +[0-9]+"
)
"""Street addresses in the customs of four languages; for Python's ``re`` without regard to case."""

AMBIGUOUS_CITIES = frozenset(
    [
        "Reading",
        "Nice",
        "Orange",
        "Surprise",
        "Independence",
        "Columbia",
        "Mobile",
        "Corona",
        "Kent",
        "Tours",
        "Concord",
        "Mesa",
        "Aurora",
        "Lincoln",
        "Jackson",
        "Madison",
        "Lancaster",
        "Normal",
        "Norman",
        "Cary",
        "Warren",
        "Elizabeth",
        "Lowell",
        "Everett",
        "Erie",
        "Flint",
        "Orlando",
        "Salem",
        "Hampton",
        "Victoria",
        "Lima",
        "Bath",
        "Essen",
        "Wesel",
        "Kiel",
        "Gent",
        "Split",
        "Bari",
        "Bergen",
        "Cali",
        "Cork",
        "Derby",
        "York",
        "Perth",
        "Surrey",
        "Troy",
        "Plano",
        "Durham",
        "Irving",
        "Burgos",
        "Florence",
        "Augusta",
        "Savannah",
        "Charlotte",
        "Denton",
        "Clinton",
        "Garland",
        "Gilbert",
        "Henderson",
        "Houston",
        "Austin",
        "Dallas",
        "Chandler",
        "Jordan",
        "Salvador",
        "Rosario",
        "Santiago",
        "Sydney",
        "Bethlehem",
        "Trenton",
        "Camden",
        "Albany",
        "Eugene",
        "Ventura",
        "Antioch",
        "Athens",
        "Rochester",
        "Fargo",
        "Paterson",
        "Lafayette",
        "Montgomery",
        "Nelson",
        "Logan",
        "Sofia",
        "Most",
        "Male",
        "Rome",
        "Quito",
        "Providence",
        "Enterprise",
        "Brest",
        "Caen",
        "Metz",
        "Bonn",
        "Mainz",
        "Halle",
        "Angers",
        "Naples",
        "Vienna",
        "Geneva",
        "Parma",
        "Palma",
        "Parson",
        "Alexandria",
        "Carrollton",
        "Richardson",
        "Westminster",
        "Hollywood",
        "Fontana",
        "Pomona",
        "Fortaleza",
        "Recife",
        "Pune",
        "Verona",
        "Modena",
        "Messina",
        "Valencia",
        "Granada",
        "Toledo",
        "Cuenca",
        "Soria",
        "Vitoria",
        "Elche",
        "Vancouver",
        "Wellington",
        "Christchurch",
        "Manchester",
        "Buffalo",
        "Phoenix",
        "Memphis",
        "Denver",
        "Anchorage",
        "Stockton",
        "Lakewood",
    ]
)
"""Cities that are also words, family names or given names: in text they do not count by themselves."""

PLACEHOLDERS = frozenset(
    ("", "-", "--", ".", "?", "n/a", "na", "n.a.", "null", "none", "nan", "nil", "unknown", "unbekannt", "inconnu", "desconocido",
     "not available", "not applicable", "no data", "tbd", "xxx", "redacted", "missing", "s/d", "sin dato")
)  # fmt: skip
"""What people type where there is no value."""

COMMON_WORDS = _words(
    """The Love Pero But And You This That One Day Like Hey There Theres What When Where Who Why How Sun Mon Tue Wed Thu
    Fri Sat San Santa Saint Punch Room Line Die Der Das Ein Eine Und Mit Von Les Des Une Con Sin Los Las Para Por Del
    North South East West New Old Fort Port Lake Mount Street Avenue Road Aunt Uncle Doctor Remitido"""
)
"""Capitalised words that open no name, although a dictionary of names has some of them."""
