"""Check digits of payment cards, accounts and the numbers that states give to persons.

Pure arithmetic on texts whose form is already known. Sources: ISO/IEC 7812 (cards), ISO 13616 and SWIFT's
registry (IBAN), and the definitions of the issuing authorities.
"""

import re
from collections.abc import Callable
from datetime import date

DIGITS_START = r"(?<![\w.,+/-])"
"""What may not stand before a number: else it is part of something longer."""

CARD_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3}|\d{6})?\Z|5[1-5]\d{14}\Z|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}\Z|3[47]\d{13}\Z"
    r"|3(?:0[0-5]|[68]\d)\d{11}\Z|6(?:011|5\d\d|4[4-9]\d)\d{12}\Z|35(?:2[89]|[3-8]\d)\d{12}\Z|62\d{14,17}\Z"
)
"""First digits and lengths that card issuers use."""

_IBAN_SIZES = {
    country: int(size)
    for size, countries in (
        entry.split(":")
        for entry in re.findall(
            r"\S+",
            """15:NO 16:BE 18:DK,FI,FO,GL,NL,SD 19:MK,SI 20:AT,BA,EE,KZ,LT,LU,MN,XK 21:CH,CR,HR,LI,LV
        22:BG,BH,DE,GB,GE,IE,ME,RS,VA 23:AE,GI,IL,IQ,OM,SO,TL 24:AD,CZ,ES,MD,PK,RO,SA,SE,SK,TN,VG
        25:LY,PT,ST 26:IS,TR 27:BI,DJ,FR,GR,IT,MC,MR,SM 28:AL,AZ,BY,CY,DO,GT,HU,LB,NI,PL,SV 29:BR,EG,PS,QA,UA
        30:JO,KW,MU,YE 31:MT,SC 32:LC 33:RU""",
        )
    )
    for country in countries.split(",")
}
"""Length of account numbers by country (SWIFT's IBAN registry)."""


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of a card number."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0 and len(set(digits)) > 1


def iban(code: str) -> bool:
    """Whether an account number without blanks has its country's length and the right check digits."""
    if _IBAN_SIZES.get(code[:2]) != len(code):
        return False
    return int("".join(str(int(letter, 36)) for letter in code[4:] + code[:4])) % 97 == 1


def _cpf(number: str) -> bool:
    digits = [int(digit) for digit in number if digit.isdigit()]
    checks = (
        sum(digit * (size - place) for place, digit in enumerate(digits[: size - 1])) for size in (10, 11)
    )
    return len(set(digits)) > 1 and [total * 10 % 11 % 10 for total in checks] == digits[9:]


def _resident(number: str) -> bool:
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17] and _is_date(number[6:14])


def _is_date(yyyymmdd: str) -> bool:
    try:
        date(int(yyyymmdd[:4]), int(yyyymmdd[4:6]), int(yyyymmdd[6:]))
    except ValueError:
        return False
    return True


def _dni(number: str) -> bool:
    digits = number[:8] if number[0].isdigit() else str("XYZ".index(number[0])) + number[1:8]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == number[8] and digits not in ("12345678", "00000000")


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _fiscal(code: str) -> bool:
    values = [int(letter) if letter.isdigit() else ord(letter) - 65 for letter in code]
    total = sum(value if place % 2 else _ODD[value] for place, value in enumerate(values[:15]))
    return chr(65 + total % 26) == code[15]


_VERHOEFF = tuple(tuple(int(digit) for digit in row) for row in (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
))  # fmt: skip
_VERHOEFF_TURN = tuple(tuple(int(digit) for digit in row) for row in (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901",
    "2793806415", "7046913258",
))  # fmt: skip


def _aadhaar(number: str) -> bool:
    state = 0
    for place, digit in enumerate(reversed(number.replace(" ", ""))):
        state = _VERHOEFF[state][_VERHOEFF_TURN[place % 8][int(digit)]]
    return state == 0


def _always(_: str) -> bool:
    return True


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"{DIGITS_START}{pattern}(?![\w-])")


IDENTITIES: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("us_ssn", _form(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?!\.\d)"), _always),
    ("brazilian_cpf", _form(r"\d{3}\.\d{3}\.\d{3}-\d{2}"), _cpf),
    ("chinese_resident_id", _form(r"[1-8]\d{5}(?:19|20)\d{9}[\dX]"), _resident),
    ("spanish_dni", _form(r"(?:\d{8}|[XYZ]\d{7})[A-HJ-NP-TV-Z]"), _dni),
    ("italian_fiscal_code", _form(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]"), _fiscal),
    ("british_nino", _form(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] \d{2} \d{2} \d{2} [A-D]"), _always),
    ("indian_aadhaar", _form(r"[2-9]\d{3} \d{4} \d{4}(?! \d)"), _aadhaar),
)  # fmt: skip
"""Numbers that states give to persons: (kind, form, whether the check digits are right)."""
