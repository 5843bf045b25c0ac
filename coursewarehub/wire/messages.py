"""Sentences that a learner's server shows by itself, in the languages of the pages.

The server has no message catalogues: what it says stands here, one table a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LANGUAGE_COOKIE: Final = "courseware_lang"
"""Cookie with the language that was chosen on the site's or a hub's pages."""

Sentence = Mapping[str, str]
"""One text for each language (`en`, `ja`, `fr`)."""

PAUSED: Final[Sentence] = {
    "en": (
        "Your notebook has lost touch with the course. It is paused so that nothing is lost; "
        "it goes on by itself when the connection is back."
    ),
    "ja": (
        "ノートブックとコースの接続が切れました。何も失われないよう一時停止しています。"
        "接続が回復すると自動的に再開します。"
    ),
    "fr": (
        "Votre notebook a perdu le contact avec le cours. Il est mis en pause pour que rien ne soit perdu ; "
        "il reprendra de lui-même au retour de la connexion."
    ),
}

KERNEL_OUT_OF_MEMORY: Final[Sentence] = {
    "en": (
        "The kernel of {notebook} was stopped because it used more memory than the {limit} this course allows. "
        "Your notebook is saved up to its last save; run it again with less data."
    ),
    "ja": (
        "{notebook} のカーネルは、このコースで使えるメモリ {limit} を超えたため停止されました。"
        "ノートブックは最後に保存したところまで残っています。データを減らしてもう一度実行してください。"
    ),
    "fr": (
        "Le noyau de {notebook} a été arrêté parce qu’il utilisait plus de mémoire que les {limit} permis "
        "dans ce cours. Votre notebook est enregistré jusqu’à son dernier enregistrement ; "
        "exécutez-le de nouveau avec moins de données."
    ),
}

PROGRAM_OUT_OF_MEMORY: Final[Sentence] = {
    "en": (
        "A program you started was stopped because your programs together used more memory than the {limit} "
        "this course allows. Run it again with less data."
    ),
    "ja": (
        "実行中のプログラムの合計が、このコースで使えるメモリ {limit} を超えたため、その一つが停止されました。"
        "データを減らしてもう一度実行してください。"
    ),
    "fr": (
        "Un de vos programmes a été arrêté parce qu’ensemble ils utilisaient plus de mémoire que les {limit} "
        "permis dans ce cours. Exécutez-le de nouveau avec moins de données."
    ),
}

READ_ONLY: Final[Sentence] = {
    "en": "This folder is read only: work on a copy in your own folder instead.",
    "ja": "このフォルダは読み取り専用です。自分のフォルダにコピーして作業してください。",
    "fr": "Ce dossier est en lecture seule : travaillez sur une copie dans votre propre dossier.",
}

COURSE_FOLDER: Final[Sentence] = {
    "en": "This folder belongs to the course: it cannot be renamed, moved or deleted.",
    "ja": "このフォルダはコースのものです。名前の変更、移動、削除はできません。",
    "fr": "Ce dossier appartient au cours : il ne peut être ni renommé, ni déplacé, ni supprimé.",
}

NOT_YOURS: Final[Sentence] = {
    "en": "This file or folder is not open to you: ask the person it belongs to.",
    "ja": "このファイルまたはフォルダを開く権限がありません。所有者に依頼してください。",
    "fr": "Ce fichier ou ce dossier ne vous est pas ouvert : adressez-vous à la personne à qui il appartient.",
}


def fill(sentence: Sentence, **values: str | Mapping[str, str]) -> dict[str, str]:
    """The sentence with its blanks filled, in every language; a value may be one text or one for each language."""
    return {
        language: text.format(
            **{name: value if isinstance(value, str) else value[language] for name, value in values.items()}
        )
        for language, text in sentence.items()
    }


def memory_size(size: int) -> dict[str, str]:
    """An amount of memory as people write it, in every language: `2.0 GB`, `2,0 Go`."""
    value, unit = float(size), 0
    while value >= 1024 and unit < 4:
        value, unit = value / 1024, unit + 1
    prefix = ("", "k", "M", "G", "T")[unit]
    digits = f"{value:.1f}" if unit >= 3 else f"{value:.0f}"
    english = f"{digits} {prefix}B"
    return {"en": english, "ja": english, "fr": f"{digits.replace('.', ',')} {prefix}o"}


def choose(sentence: Sentence, accept_language: str = "") -> str:
    """The text in the first language of an Accept-Language header that there is; else English, else any."""
    for wanted in accept_language.split(","):
        language = wanted.split(";")[0].split("-")[0].strip().lower()
        if language in sentence:
            return sentence[language]
    return sentence.get("en") or next(iter(sentence.values()))
