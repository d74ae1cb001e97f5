"""The months and days of the week by their names, in the languages that write them in Latin letters."""

from __future__ import annotations

import unicodedata

_MONTHS = """
    jan january januar januari jaen jaenner janner janv janvier ene enero gen genn gennaio janeiro
    feb february februar februari fevr fev fevrier febrero febbr febbraio fevereiro
    mar march mars marz maerz mrz maart mrt marzo marco
    apr april avr avril abr abril aprile
    may mai maj mei mayo mag magg maggio maio
    jun june juni juin junio giu giugno junho
    jul july juli juil juillet julio lug luglio julho
    aug august augusti augustus aout ago ag agosto
    sep sept september septembre septiembre setiembre set sett settembre setembro
    oct october okt oktober octobre octubre ott ottobre out outubro
    nov november novembre noviembre novembro
    dec december dez dezember des desember decembre dic diciembre dicembre dezembro
"""
_WEEKDAYS = """
    mo mon monday tu tue tues tuesday we wed wednesday th thu thur thurs thursday fr fri friday sa sat saturday su sun
    sunday montag di dienstag mi mittwoch do donnerstag freitag samstag sonnabend so sonntag
    lun lundi mar mardi mer mercredi jeu jeudi ven vendredi sam samedi dim dimanche
    lunes martes mie miercoles jue jueves vie viernes sab sabado dom domingo
    lunedi martedi mercoledi gio giovedi venerdi domenica seg segunda ter terca qua quarta qui quinta sex sexta
    maandag dinsdag wo woensdag donderdag vr vrijdag za zaterdag zo zondag
    man mandag tis tirs tisdag tirsdag ons onsdag tor tors torsdag fre fredag lor lordag lordag son sondag
"""
MONTHS = {word: number for number, line in enumerate(_MONTHS.strip().splitlines(), 1) for word in line.split()}
"""The number of a month by its name, in small letters and without accents."""

WEEKDAYS = frozenset(_WEEKDAYS.split())


def plain(text: str) -> str:
    """A text without blanks around it and accents on its letters.

    >>> plain(" 5 M\u00e4rz "), plain("f\u00e9vr.")
    ('5 Marz', 'fevr.')
    """
    text = text.strip()
    if text.isascii():
        return text
    bare = "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))
    return unicodedata.normalize("NFC", bare).replace("\u00f8", "o").replace("\u00d8", "O")
