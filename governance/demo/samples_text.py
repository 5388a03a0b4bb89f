"""Clinical notes and support prompts: sentences in four languages with identifiers hidden in them."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

NOTE_FINDINGS = (
    (
        "Presents with {diagnosis}, stable on {medication}.",
        "Follow-up for {diagnosis}. Vitals within normal limits, continue {medication}.",
        "Pt c/o fatigue x 3 days; known {diagnosis}. Started {medication}, recheck in 2 weeks.",
        "No acute distress. {diagnosis} reviewed; tolerating {medication} well, labs pending.",
    ),
    (
        "Vorstellung wegen {diagnosis}, unter {medication} stabil.",
        "Verlaufskontrolle bei {diagnosis}. Vitalwerte unauffällig, {medication} weiter.",
        "Bekannte {diagnosis}; {medication} begonnen, Kontrolle in zwei Wochen.",
    ),
    (
        "Consultation pour {diagnosis}, stable sous {medication}.",
        "Suivi de {diagnosis}. Constantes normales, poursuite de {medication}.",
        "Antécédents de {diagnosis} ; {medication} débuté, contrôle dans deux semaines.",
    ),
    (
        "Acude por {diagnosis}, estable con {medication}.",
        "Revisión de {diagnosis}. Constantes normales, continúa con {medication}.",
        "Antecedentes de {diagnosis}; se inicia {medication}, control en dos semanas.",
    ),
)

NOTE_IDENTIFIERS = (
    (
        " Patient {name} (MRN {mrn}) can be reached at {phone}.",
        " Spoke with {name} by phone, {phone}; summary sent to {email}.",
        " Discharge letter to {address}. SSN on file {ssn}.",
        " Seen again on {date}; spouse {other} called from {phone}.",
        " {name}, MRN: {mrn}, asked for copies by e-mail ({email}).",
        " Dr. {other} informed. Records under {mrn}.",
        " Emergency contact: {other}, {phone}.",
        " Patient is {age} years old and lives at {address}.",
    ),
    (
        " Patient {name} (MRN {mrn}) ist unter {phone} erreichbar.",
        " Befund an {email} gesendet, Rückruf unter {phone}.",
        " Arztbrief an {address}. Wiedervorstellung am {date}.",
        " Angehörige: {other}, Tel. {phone}.",
        " Frau/Herr {name} bittet um Kopie an {email}, Akte {mrn}.",
    ),
    (
        " Patient {name} (MRN {mrn}), joignable au {phone}.",
        " Compte rendu envoyé à {email}, rappel au {phone}.",
        " Courrier adressé au {address}. Revu le {date}.",
        " Personne à prévenir : {other}, tél. {phone}.",
    ),
    (
        " Paciente {name} (MRN {mrn}), teléfono {phone}.",
        " Informe enviado a {email}; llamar al {phone}.",
        " Carta remitida a {address}. Visto de nuevo el {date}.",
        " Familiar de contacto: {other}, tel. {phone}.",
    ),
)

PROMPTS = (
    (
        "Hi, my {topic} question: why was I charged twice this month?",
        "I cannot log in since yesterday. Can you check the {topic} settings please?",
        "How do I cancel? The {topic} page shows an error.",
        "My name is {name} and my account {mrn} shows a wrong {topic} entry. Mail me at {email}.",
        "This is {name}. Please call me back on {phone} about {topic}.",
        "Please ship the replacement to {address}, customer number {mrn}.",
        "I moved! New address: {address}. Confirm to {email} please.",
        "My SSN is {ssn}, is that enough to verify me for {topic}?",
    ),
    (
        "Guten Tag, warum wurde mir {topic} doppelt berechnet?",
        "Ich kann mich seit gestern nicht anmelden, bitte {topic} prüfen.",
        "Mein Name ist {name}, Kundennummer {mrn}. Bitte antworten Sie an {email}.",
        "Bitte rufen Sie mich unter {phone} wegen {topic} zurück. Gruß, {name}",
        "Neue Anschrift: {address}. IBAN bleibt {iban}.",
    ),
    (
        "Bonjour, pourquoi ai-je été débité deux fois pour {topic} ?",
        "Impossible de me connecter depuis hier, merci de vérifier {topic}.",
        "Je m'appelle {name}, numéro client {mrn}. Répondez-moi à {email}.",
        "Merci de me rappeler au {phone} au sujet de {topic}. {name}",
        "Nouvelle adresse : {address}. Mon IBAN reste {iban}.",
    ),
    (
        "Hola, ¿por qué me han cobrado {topic} dos veces?",
        "No puedo entrar desde ayer, revisen {topic} por favor.",
        "Me llamo {name}, cliente {mrn}. Escríbanme a {email}.",
        "Llámenme al {phone} por el tema de {topic}. Gracias, {name}",
        "Nueva dirección: {address}. Mi IBAN sigue siendo {iban}.",
    ),
)

REPLIES = (
    (
        "Thanks for reaching out. We have corrected the {topic} entry.",
        "I have reset your access, please try again in ten minutes.",
        "Hello {name}, we will call {phone} this afternoon.",
        "Done. A confirmation is on its way to {email}.",
    ),
    (
        "Vielen Dank, der Eintrag zu {topic} ist korrigiert.",
        "Guten Tag {name}, die Bestätigung geht an {email}.",
    ),
    ("Merci, nous avons corrigé {topic}.", "Bonjour {name}, la confirmation part à {email}."),
    ("Gracias, hemos corregido {topic}.", "Hola {name}, enviamos la confirmación a {email}."),
)


def render(
    templates: Sequence[Sequence[str]],
    language: NDArray[np.int64],
    fields: Mapping[str, pa.Array],
    rng: np.random.Generator,
) -> pa.Array:
    """One sentence per row in the row's language; a template drawn at random for each.

    Args:
        templates: by locale index, format strings over the names in ``fields``.
        language: locale index per row, shape (n,).
        fields: string arrays of length n; nulls read as ``n/a``.

    Returns:
        ``string`` array of length n, without nulls.
    """
    rows = len(language)
    draw = rng.random(rows)
    filled = {name: pc.fill_null(values, "n/a") for name, values in fields.items()}
    texts: list[pa.Array] = []
    places: list[NDArray[np.int64]] = []
    for locale, sentences in enumerate(templates):
        here = language == locale
        choice = np.where(here, (draw * len(sentences)).astype(np.int64), -1)
        for number, sentence in enumerate(sentences):
            at = np.flatnonzero(choice == number)
            if len(at):
                texts.append(_filled(sentence, filled, pa.array(at)))
                places.append(at)
    back = np.empty(rows, dtype=np.int64)
    back[np.concatenate(places)] = np.arange(rows)
    return pa.concat_arrays(texts).take(pa.array(back))


def _filled(sentence: str, fields: Mapping[str, pa.Array], at: pa.Array) -> pa.Array:
    parts: list[pa.Array | str] = []
    for literal, field, _, _ in string.Formatter().parse(sentence):
        if literal:
            parts.append(literal)
        if field:
            parts.append(fields[field].take(at))
    if all(isinstance(part, str) for part in parts):
        return pa.array([sentence] * len(at), pa.string())
    return pc.binary_join_element_wise(*parts, "")
