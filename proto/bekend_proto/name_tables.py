"""Tables for names: which words are a voorvoegsel, which letters stand for others, which spellings are one name.

A row that is added makes other pseudonyms for the names in it. So a table changes only together with the kinds'
vectors and a new quarter, for all partners at once: see docs/identifiers.md.
"""

from typing import Final

LETTERS: Final = {
    "Æ": "AE",
    "Œ": "OE",
    "Ø": "O",
    "ẞ": "SS",
    "Ł": "L",
    "Đ": "D",
    "Ð": "D",
    "Ɖ": "D",
    "Þ": "TH",
    "Ħ": "H",
    "Ŧ": "T",
    "Ŋ": "N",
    "ĸ": "K",
    "Ə": "E",
    "Ɨ": "I",
    "Ɓ": "B",
    "Ɗ": "D",
    "Ƙ": "K",
    "Ƴ": "Y",
    "Ɛ": "E",
    "Ɔ": "O",
    "Ɣ": "G",
    "·": "",
}
"""Capitals that do not decompose into an ASCII letter and marks (NFKD). The rest of a name's letters do."""

APOSTROPHES: Final = frozenset("'’‘‛ʼʻʾʿʹʽ`′")
"""What stands for an apostrophe, and for the hamza and ayn of a scholar's transliteration."""

HYPHENS: Final = frozenset("-‐‑‒–—―−")
"""What stands for a hyphen."""

_VOORVOEGSELS: Final = (
    "A AAN AF AL AM AUF AUS BEN BIN BOVEN BY D DA DAL DALLA DAS DE DECA DEGLI DEI DEL DELLA DEN DER DES DI DIE DO DON "
    "DOS DU EL GEN HET I IM IN L LA LAS LE LES LO LOS M OF ONDER OP OVER S T TE TEN TER THO THOE THOR TO TOE TOT UIT "
    "UNTER UYT UYTEN VAN VER VOM VON VOOR VOR ZU ZUM ZUR"
)
"""The words of BRP table 36, with ij as y."""

_CUT_SHORT: Final = "V VD VDN VH VN"

_ARTICLES: Final = "AS ASH AZ ECH ED EN ER ES ET EZ IBN UL"
"""Before a sun letter, and other words that come first in names from the Arabic."""

PREFIX_WORDS: Final = frozenset(f"{_VOORVOEGSELS} {_CUT_SHORT} {_ARTICLES}".split())
"""Words that are left out at the beginning and the end of a surname."""

SERVANT_OF: Final = ("ABDEL", "ABDUL", "ABDAL", "ABDOUL", "ABDOEL", "ABDIL", "ABD")
"""How names that mean 'servant of' begin, written apart or as one word; the first is the canonical one."""

BEGINNINGS: Final = (
    ("GHEBRE", "GEBRE"),
    ("WOLDE", "WELDE"),
    ("TECLE", "TEKLE"),
    ("HAYLE", "HAILE"),
)
"""Beginnings of names from Eritrea and Ethiopia: Italian and English spelling."""

_SPELLINGS: Final = {
    # Arabic, as spelt in the papers of Morocco, Algeria, Syria, Iraq, Somalia and others.
    "MOHAMED": "MOHAMMED MUHAMMAD MUHAMMED MOHAMMAD MOHAMAD MUHAMAD MUHAMED MAHAMED MAXAMED",
    "MHAMED": "MHAMMED MHAMMAD",
    "MAHMOUD": "MAHMUD MAHMOED MAXAMUUD MOHAMUD MAHAMUD",
    "AHMED": "AHMAD AXMED ACHMED ACHMAD",
    "HAMID": "HAMEED HAMIID",
    "HAMED": "HAMMED",
    "YOUSSEF": "YOUSEF YUSUF YUSEF YOUSUF YOUCEF YOUSSOUF JOESOEF YUUSUF YUSSUF JUSUF JOUSSEF",
    "HASSAN": "HASAN HASSANE XASAN",
    "HUSSEIN": "HOSSEIN HUSAIN HUSSAIN HUSEIN HOUSSEIN HOUSSAIN HOSSAIN HUSEEN XUSEEN",
    "ALI": "ALY CALI",
    "OMAR": "UMAR CUMAR",
    "OTHMAN": "OSMAN OTHMANE UTHMAN OUTHMAN OTMAN OTMANE USMAN CUSMAAN",
    "IBRAHIM": "EBRAHIM IBRAHEEM IBRAAHIIM",
    "ISMAIL": "ISMAEL ISMAEEL ISMAAIIL ESMAIL ESMAEIL",
    "KHALID": "KHALED KHALIED CHALID",
    "RACHID": "RASHID RASHED RACHIED RASJIED RASCHID",
    "SAID": "SAEED SAEID SAIED SAYEED",
    "MUSTAFA": "MOSTAFA MOUSTAFA MOUSTAPHA MUSTAPHA MOSTAPHA",
    "TARIK": "TAREK TARIQ TAREQ",
    "NOUREDDINE": "NOURDIN NOURDINE NOUREDDIN NURADDIN NURUDDIN NORDIN NORDINE NOORDIN NUREDDIN",
    "ABDELLAH": "ABDALLAH ABDULLAH ABDOULLAH ABDILLAH ABDELLA ABDALLA ABDULLA ABDELLAHI CABDULLAAHI ABDALA",
    "ABDELRAHMAN": "ABDERRAHMAN ABDERRAHMANE ABDERRAHMANN ABDURRAHMAN ABDIRAHMAN ABDRAHMAN ABDURAHMAN ABDERAHMAN "
    "CABDIRAXMAAN ABDELRAHMANE",
    "ABDELRAHIM": "ABDERRAHIM ABDIRAHIM ABDURRAHIM ABDERAHIM",
    "ABDELRAZAK": "ABDERRAZAK ABDIRIZAK ABDURRAZAK ABDELRAZAQ ABDERRAZZAK ABDELRAZZAK ABDERAZAK",
    "ABDELAZIZ": "ABDILAZIZ",
    "ABDELKADER": "ABDELKADIR ABDIKADIR ABDIQADIR ABDELQADER ABDELQADIR ABDELKHADER",
    "JAMAL": "DJAMAL JAMAAL CAMAL GAMAL JAMEL DJAMEL",
    "JAMILA": "DJAMILA JAMEELA GAMILA",
    "BILAL": "BILLAL BELAL",
    "HAMZA": "HAMZAH HAMSA",
    "KARIM": "KAREEM KARIEM",
    "NASSER": "NASER NASIR NASSIR",
    "SALAH": "SALLAH",
    "SALEH": "SALIH",
    "SULEIMAN": "SULAIMAN SOULEIMAN SOLIMAN SULEMAN SOULAIMAN SOULAIMANE SOULEYMANE",
    "YASSIN": "YASSINE YASIN YASSEEN YASEEN",
    "YAHYA": "YAHIA YEHIA YEHYA",
    "YOUNES": "YUNES YOUNESS YOUNUS YUNUS YOUNIS YUNIS",
    "ZAKARIA": "ZAKARIYA ZAKARIYYA ZAKARIE ZAKARYA",
    "AYOUB": "AYUB AYYUB AYOEB AYOOB",
    "IDRIS": "IDRISS IDREES",
    "FATIMA": "FATEMA FATIMAH FATEMEH FATUMA FADUMA FAADUMO",
    "AISHA": "AICHA AYSHA AISJA AYESHA CAASHA",
    "KHADIJA": "KHADIDJA KHADEEJA HADIJA KADIJA CHADIJA KHADIJAH",
    "ZAINAB": "ZAYNAB ZEINAB ZEYNAB ZINEB ZENAB ZAYNEB",
    "MARYAM": "MERYAM MARIYAM MARIAM MARYEM MERYEM MARIEM MERIEM MERIAM MARYAN",
    "AMINA": "AMEENA AMINAH AAMINA",
    "NAIMA": "NAEEMA NAYIMA",
    "NOUR": "NUR NOOR NOER",
    "NADIA": "NADYA NADIYA",
    "RACHIDA": "RASHIDA",
    "SAIDA": "SAEEDA",
    "SAMIRA": "SAMEERA",
    "SOUMAYA": "SUMAYA SOUMAYYA SUMAYYA SOUMIA",
    # Tigrinya and Amharic.
    "TESFAY": "TESFAYE TESFAI TESFAE",
    "GIRMAY": "GHIRMAY GIRMAI GHIRMAI GRMAY GERMAY",
    "BERHANE": "BIRHANE BRHANE BERHANI",
    "HAILE": "HAYLE",
    "GEBREMEDHIN": "GEBREMEDHN GEBREMEDIN GEBREMEDHEN",
    "GEBREMARIAM": "GEBREMARYAM",
    "GEBREHIWOT": "GEBREHIWET",
    "YOHANNES": "YOHANES YOHANNIS",
    "MICHAEL": "MIKAEL MIKIAEL MICAEL",
    "MEDHANIE": "MEDHANE MEDHANI MEDHANYE",
    "MEHARI": "MIHARI MEHARY",
    "KIDANE": "KIDANI",
    "NEGASH": "NEGASI NEGASSI NIGASH",
    "YEMANE": "JEMANE YEMANI",
    "ABRAHAM": "ABREHAM",
    "ABRAHA": "ABRHA ABREHA",
    "KIBROM": "KBROM",
    "ZERAY": "ZERAI ZERAAY",
    "LETEBRHAN": "LETEBREHAN LETEBERHAN LETEBIRHAN",
    "SELAM": "SELAMU",
    "TSEGAY": "TSEGAYE TSEGAI SEGAY",
    "WELDEMICHAEL": "WELDEMIKAEL WELDEMICAEL",
    "FILMON": "PHILMON PHILEMON",
    "SEMERE": "SEMERIE",
    "SAMUEL": "SAMIEL SAMUIEL",
    "DAWIT": "DAWITT",
    "EYOB": "IYOB EYOBE",
    "ROBEL": "ROBIEL",
    "TEKLE": "TECLE",
    "WELDU": "WOLDU",
}

SPELLINGS: Final = {
    other.replace("IJ", "Y"): name.replace("IJ", "Y") for name, others in _SPELLINGS.items() for other in others.split()
}
"""Spelling of one name: the spelling that stands for all of them. Whole words, with ij as y."""
