"""Who lives in the country, by origin, and how people of each origin are named: what persons are generated from.

Dutch surnames are the thousand commonest of 2007 (CC0, Meertens Instituut), with a tail that meets three known figures.
Everything else is an estimate, written down here so that it can be disputed: sizes after CBS (2024, with people who are
not registered), heads of names after the lists that SVB and foreign statistics offices publish, rounded. Names in the
tails are made up.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Final

YEARS: Final = 81
"""Years of birth, this one included."""

_FATHERS: Final = 150
"""So many given names serve as surnames."""

_CONSONANTS: Final = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z")
_SYLLABLES: Final = tuple(a + b for a, b in product(_CONSONANTS, ("a", "e", "i", "o", "u")))


@dataclass(frozen=True)
class Names:
    """A distribution of names: a head with its percentages, and a tail of so many made-up ones that takes the rest.

    Within the tail the name of rank r has weight (r + 20)^-exponent. `ending` is what the made-up ones end in.
    """

    head: str
    tail: int
    ending: str = ""
    exponent: float = 0.9

    @cache  # noqa: B019 - a dozen instances, module constants all
    def table(self) -> tuple[list[str], list[float]]:
        """Every name with its share; shares add up to one."""
        words = self.head.split()
        names = [word.replace("_", " ") for word in words[::2]]
        shares = [float(word) / 100 for word in words[1::2]]
        weights = [(rank + 20) ** -self.exponent for rank in range(1, self.tail + 1)]
        left, total = 1 - sum(shares), sum(weights)
        names += [made_up(number, self.ending) for number in range(self.tail)]
        return names, shares + [left * weight / total for weight in weights]


@dataclass(frozen=True)
class Given:
    """Given names of one sex; each table holds up to its year of birth, counted back from now."""

    by_age: tuple[tuple[int, Names], ...]

    def at(self, age: int) -> Names:
        """The table for people of this age."""
        return next(names for least, names in self.by_age if age >= least)


@dataclass(frozen=True)
class Origin:
    """Persons in thousands; how much likelier than others they are enrolled; their share of questions without a BSN.

    `new_year` is the share of adults whom papers give 1 January; `centre` lives at an address of hundreds, such as a
    reception centre or labourers' lodgings; `no_address` has none. `patronymic`: the surname is father's given name,
    or father's and grandfather's.
    """

    name: str
    persons: int
    enrolled: float
    asked: float
    new_year: float
    centre: float
    no_address: float
    men: Given
    women: Given
    surnames: Names | None = None
    patronymic: float = 0.0
    romanised: bool = False


def made_up(number: int, ending: str) -> str:
    """The name of that number: three syllables and an ending, no two alike."""
    rest, first = divmod(number, len(_SYLLABLES))
    third, second = divmod(rest, len(_SYLLABLES))
    # Neighbours in rank are not alike in writing.
    order = ((first * 37 + 11) % 80, (second * 53 + 7) % 80, (third * 29 + 3) % 80)
    return ("".join(_SYLLABLES[one] for one in order) + ending).capitalize()


@cache
def dutch_surnames() -> tuple[list[str], list[float]]:
    """The thousand commonest as counted, and a tail of 123,196: the last has 5 persons, all have 16.36 million."""
    text = files("bekend_bench").joinpath("data/surnames_nl_2007.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(), delimiter=";"))
    foreign = {word.replace("_", " ") for one in ORIGINS[1:] if one.surnames for word in one.surnames.head.split()[::2]}
    names = [row["surname"] for row in rows if row["surname"] not in foreign]
    counts = [float(row["persons"]) for row in rows if row["surname"] not in foreign]
    tail = _tail(counts[-1])
    names += [made_up(number, "") for number in range(len(tail))]
    counts += tail
    total = sum(counts)
    return names, [count / total for count in counts]


def _tail(first: float, last: float = 5.0, ranks: int = 123_196, persons: float = 11.2e6) -> list[float]:
    """Counts that fall from `first` to `last` along a parabola in logarithms whose sum is `persons`."""
    width = math.log((1000 + ranks) / 1000)
    places = [math.log((1000 + rank) / 1000) / width for rank in range(1, ranks + 1)]
    low, high = 0.0, 12.0
    for _ in range(40):
        bulge = (low + high) / 2
        counts = [first * math.exp(math.log(last / first) * at + bulge * at * (1 - at)) for at in places]
        low, high = (bulge, high) if sum(counts) < persons else (low, bulge)
    return counts


_MEN_NL: Final = Given(
    (
        (
            65,
            Names(
                "Johannes 9 Jan 5.2 Cornelis 4.6 Hendrik 4.2 Willem 3.8 Pieter 3.1 Gerrit 2.6 Petrus 2.5 Jacobus 2.1 "
                "Antonius 2 Adrianus 1.6 Wilhelmus 1.6 Gerardus 1.5 Hendrikus 1.4 Jacob 1.2 Dirk 1.2 Johan 1.1 "
                "Theodorus 1.1 Franciscus 1.1 Martinus 1 Arie 0.9 Albert 0.8 Robert 0.8 Josephus 0.7 Leonardus 0.6 "
                "Klaas 0.6 Rudolf 0.5 Peter 0.5 Hans 0.4 Frank 0.3",
                1500,
                "us",
            ),
        ),
        (
            38,
            Names(
                "Johannes 3.1 Jan 2 Peter 1.5 Robert 1.4 Martijn 1.3 Jeroen 1.5 Marco 1.2 Michael 1.3 Dennis 1.3 "
                "Erik 1.1 Mark 1.5 Patrick 1.2 Ronald 1 Richard 1.1 Edwin 1 Marcel 1.2 Rob 0.6 Paul 0.8 Bart 0.8 "
                "Frank 0.8 Sander 0.8 Bas 0.7 Jasper 0.5 Cornelis 1.3 Hendrik 1.1 Willem 1.3 Pieter 1 Danny 0.7 "
                "Stefan 0.8 Vincent 0.7",
                4000,
                "an",
            ),
        ),
        (
            0,
            Names(
                "Daan 0.9 Sem 0.8 Lucas 0.7 Thomas 0.9 Tim 0.9 Lars 0.7 Milan 0.6 Jesse 0.7 Bram 0.7 Thijs 0.7 Levi "
                "0.5 Noah 0.6 Finn 0.6 Luuk 0.6 Ruben 0.7 Max 0.6 Kevin 0.7 Rick 0.5 Nick 0.6 Stijn 0.5 Niels 0.5 "
                "Jayden 0.3 Julian 0.5 Sven 0.4 Mees 0.4",
                9000,
                "o",
            ),
        ),
    )
)
_WOMEN_NL: Final = Given(
    (
        (
            65,
            Names(
                "Maria 10 Johanna 6.5 Anna 4.2 Cornelia 3.7 Elisabeth 3.1 Wilhelmina 3 Hendrika 2.2 Catharina 2.2 "
                "Adriana 1.8 Petronella 1.7 Margaretha 1.7 Jacoba 1.3 Geertruida 1.1 Theodora 0.9 Helena 1 Jannetje "
                "0.6 Antonia 0.9 Gerarda 0.7 Aaltje 0.5 Grietje 0.5 Trijntje 0.4 Alida 0.5 Francisca 0.5 Ingrid 0.3",
                1800,
                "ina",
            ),
        ),
        (
            38,
            Names(
                "Maria 3.5 Johanna 2 Anna 1.2 Linda 1.4 Monique 1.2 Sandra 1.3 Esther 1.1 Marieke 0.9 Petra 0.8 "
                "Nicole 0.9 Wendy 0.8 Mariska 0.7 Marjolein 0.7 Saskia 0.7 Patricia 0.8 Ingrid 0.7 Kim 0.7 "
                "Yvonne 0.7 Angela 0.6 Suzanne 0.6 Elisabeth 1.1 Wilhelmina 0.9 Cornelia 0.9 Chantal 0.6 Manon 0.5",
                5000,
                "ie",
            ),
        ),
        (
            0,
            Names(
                "Emma 0.9 Sophie 0.8 Julia 0.8 Anna 0.7 Lisa 0.9 Eva 0.7 Sanne 0.7 Lotte 0.7 Laura 0.7 Mila 0.5 "
                "Tess 0.5 Zoe 0.4 Sara 0.6 Fleur 0.5 Isa 0.5 Femke 0.4 Iris 0.4 Noa 0.4 Maud 0.3 Roos 0.3 Nora 0.3 "
                "Amber 0.4 Naomi 0.3 Britt 0.4 Demi 0.3",
                9000,
                "a",
            ),
        ),
    )
)


def _all(head: str, tail: int, ending: str) -> Given:
    return Given(((0, Names(head, tail, ending)),))


_MEN_AR: Final = _all(
    "Mohammed 9.5 Ahmad 3.5 Ali 2.6 Hassan 1.8 Hussein 1.8 Omar 1.7 Ibrahim 1.5 Khaled 1.4 Mahmoud 1.4 Youssef 1.3 "
    "Abdullah 1.3 Mustafa 1.2 Abdulrahman 1 Bilal 0.8 Hamza 0.9 Karim 0.7 Nasser 0.6 Samir 0.6 Tarek 0.6 Yassin 0.6 "
    "Ismail 0.6 Zakaria 0.5 Saleh 0.5 Rami 0.4 Anas 0.4 Amjad 0.3 Fadi 0.3 Wael 0.3",
    700,
    "am",
)
_WOMEN_AR: Final = _all(
    "Fatima 5.5 Mariam 2.2 Aisha 1.8 Amina 1.5 Zainab 1.6 Khadija 1.5 Nour 1.4 Hanan 0.9 Samira 0.8 Rania 0.7 "
    "Layla 0.9 Huda 0.8 Iman 0.8 Sara 1 Salma 0.6 Noor 0.4 Maryam 0.6 Hiba 0.4 Rana 0.4 Dina 0.3",
    700,
    "iya",
)
_MEN_MA: Final = _all(
    "Mohamed 11 Ahmed 3.2 Hassan 2 Abdelkader 1.2 Said 1.6 Mustapha 1.5 Youssef 1.8 Rachid 1.3 Khalid 1.2 Hamza 1 "
    "Bilal 1 Ayoub 0.9 Ali 1.2 Omar 1 Abdellah 1 Brahim 0.8 Noureddine 0.7 Abderrahman 0.7 Yassine 0.9 Soufian 0.6 "
    "Karim 0.6 Ismail 0.6 Driss 0.4 Lahcen 0.4 Zakaria 0.5",
    600,
    "ine",
)
_WOMEN_MA: Final = _all(
    "Fatima 5.5 Khadija 2.4 Naima 1.4 Aicha 1.8 Samira 1.4 Malika 1 Rachida 1 Mina 0.8 Yamina 0.7 Hanan 0.9 Karima 0.9 "
    "Nadia 0.9 Salma 0.8 Ikram 0.8 Sara 0.8 Nora 0.7 Loubna 0.6 Latifa 0.7 Zohra 0.7 Halima 0.7",
    600,
    "ya",
)
_MEN_HORN: Final = _all(
    "Mohamed 7 Ahmed 3.8 Ali 3.2 Hassan 2.6 Abdi 2.6 Abdullahi 2.2 Omar 1.9 Ibrahim 1.8 Yusuf 1.6 Ismail 1.2 "
    "Abdirahman 1.5 Tesfay 1.8 Filmon 1 Yonas 1 Samuel 1.1 Haile 1 Berhane 1 Kidane 0.9 Tekle 0.8 Gebremedhin 0.6 "
    "Mehari 0.7 Daniel 1 Robel 0.7 Kibrom 0.6 Michael 0.9 Abraham 0.8 Yohannes 0.8 Solomon 0.7 Habtom 0.5 Semere 0.5",
    250,
    "om",
)
_WOMEN_HORN: Final = _all(
    "Fadumo 3 Amina 2.6 Halima 2 Fatuma 1.6 Hodan 1.2 Asha 1.2 Sahra 1.2 Maryan 1.1 Selam 1.3 Rahel 0.9 Senait 0.9 "
    "Tsega 0.6 Letebrhan 0.5 Almaz 0.7 Zewdi 0.4 Freweini 0.5 Semhar 0.5 Eden 0.6 Winta 0.4 Feven 0.4",
    250,
    "et",
)
_MEN_AF: Final = _all(
    "Mohammad 12 Ahmad 4.5 Ali 4 Abdul 1.4 Hossein 3 Reza 2.4 Mahdi 1.6 Hamid 1.2 Omid 0.7 Farid 0.7 Najib 0.6 "
    "Amir 1.5 Sayed 1.3 Ghulam 0.7 Mirwais 0.4 Nasir 0.6 Jawad 0.6 Karim 0.5 Saeed 0.9 Javad 0.6",
    500,
    "ullah",
)
_WOMEN_AF: Final = _all(
    "Fatemeh 5 Zahra 4 Maryam 3 Zainab 1.6 Leila 1 Nasrin 0.8 Farida 0.8 Shahla 0.6 Sara 1 Parisa 0.5 Mina 0.6 "
    "Masuma 0.8 Nilofar 0.4 Zohra 0.6 Shirin 0.4",
    500,
    "gul",
)
_MEN_TR: Final = _all(
    "Mehmet 3.6 Mustafa 2.8 Ahmet 2.5 Ali 2.4 Hüseyin 1.9 Hasan 1.9 İbrahim 1.4 Ömer 1.1 Yusuf 1.2 Osman 1.1 Murat 1.3 "
    "Ramazan 0.9 Emre 0.8 Halil 0.9 Süleyman 0.8 Kemal 0.5 Recep 0.7 Serkan 0.5 Emirhan 0.3 İsmail 1.1 Burak 0.5",
    900,
    "han",
)
_WOMEN_TR: Final = _all(
    "Fatma 4 Ayşe 3.2 Emine 2.8 Hatice 2.6 Zeynep 1.4 Elif 1.3 Meryem 1 Özlem 0.7 Sevim 0.7 Hacer 0.6 Zehra 0.8 "
    "Havva 0.6 Gülsüm 0.5 Yasemin 0.6 Esra 0.6 Sultan 0.6 Songül 0.4 Büşra 0.5 Kübra 0.5",
    900,
    "nur",
)
_MEN_PL: Final = _all(
    "Piotr 4.2 Krzysztof 4 Andrzej 3.2 Tomasz 3.6 Paweł 3.6 Jan 2.4 Michał 3.2 Marcin 3.1 Jakub 3 Marek 2.6 "
    "Grzegorz 2.5 Łukasz 2.9 Adam 2.5 Mateusz 2.6 Zbigniew 1.8 Rafał 2.1 Robert 1.9 Dariusz 2 Kamil 2 Mariusz 1.8 "
    "Wojciech 1.8 Dawid 1.5 Sebastian 1.3 Artur 1.4 Jarosław 1.4 Daniel 1.3 Damian 1.2 Przemysław 1.1 Sławomir 1.1",
    500,
    "mir",
)
_WOMEN_PL: Final = _all(
    "Anna 5.6 Katarzyna 3.5 Maria 3 Małgorzata 3 Agnieszka 2.9 Barbara 2.2 Ewa 2.3 Magdalena 2.5 Elżbieta 2 Joanna 2.3 "
    "Aleksandra 2 Monika 2 Karolina 1.7 Natalia 1.6 Justyna 1.5 Zofia 1.3 Beata 1.3 Dorota 1.3 Sylwia 1.2 Paulina 1.4",
    500,
    "sława",
)
_MEN_RO: Final = _all(
    "Gheorghe 3.8 Ion 3.6 Vasile 3 Andrei 3.2 Alexandru 3 Constantin 2.6 Nicolae 2.4 Mihai 2.4 Ionuț 2 Florin 1.9 "
    "Marian 1.9 Cristian 1.9 Daniel 2 Adrian 2.1 Georgi 2 Ivan 2 Dimitar 1.8 Marius 1.6 Ștefan 1.5 Bogdan 1.3 "
    "Nikolay 1.2 Catalin 1.1 Stoyan 0.6",
    600,
    "escu",
)
_WOMEN_RO: Final = _all(
    "Maria 7 Elena 4.2 Ana 3.2 Ioana 2.3 Mihaela 1.9 Andreea 2 Cristina 1.8 Daniela 1.7 Alexandra 1.7 Mariana 1.4 "
    "Gabriela 1.3 Ivanka 0.9 Maria-Magdalena 0.4 Desislava 0.6 Florentina 0.7 Georgiana 0.8 Rodica 0.6 Simona 0.8",
    600,
    "ița",
)
_MEN_SR: Final = _all(
    "Johannes 1 Jerrel 0.5 Kenneth 0.8 Marlon 0.6 Roy 0.8 Orlando 0.6 Ricardo 0.8 Rudy 0.5 Mohamed 0.6 Radjesh 0.5 "
    "Anand 0.5 Ruben 0.6 Errol 0.5 Glenn 0.5 Robby 0.4 Dennis 0.7 Michael 0.9 Kevin 0.6 Jason 0.4 Angelo 0.5",
    3500,
    "on",
)
_WOMEN_SR: Final = _all(
    "Maria 1.2 Sandra 0.8 Joyce 0.6 Shanti 0.5 Anita 0.7 Lilian 0.5 Priya 0.3 Cheryl 0.4 Ingrid 0.5 Melissa 0.5 "
    "Johanna 0.5 Sharon 0.5 Angela 0.5 Marlene 0.4 Chandra 0.3",
    3500,
    "ella",
)

ORIGINS: Final = (
    Origin("dutch and western", 13_850, 1, 0.12, 0, 0.001, 0.002, _MEN_NL, _WOMEN_NL),
    Origin(
        "turkish",
        450,
        2,
        0.02,
        0.03,
        0.002,
        0.005,
        _MEN_TR,
        _WOMEN_TR,
        Names(
            "Yılmaz 1.2 Kaya 0.85 Demir 0.65 Yıldız 0.72 Yıldırım 0.69 Öztürk 0.65 Şahin 0.62 Aydın 0.58 Çelik 0.6 "
            "Özdemir 0.5 Arslan 0.5 Doğan 0.48 Kılıç 0.42 Aslan 0.4 Çetin 0.35 Kara 0.35 Koç 0.35 Kurt 0.33 Polat 0.3 "
            "Özcan 0.3 Korkmaz 0.25 Aktaş 0.25 Erdoğan 0.25 Yavuz 0.22 Can 0.2",
            9000,
            "oğlu",
        ),
    ),
    Origin(
        "moroccan",
        440,
        2.5,
        0.07,
        0.06,
        0.005,
        0.02,
        _MEN_MA,
        _WOMEN_MA,
        Names(
            "El_Idrissi 0.35 El_Amrani 0.35 Bouzid 0.12 El_Khattabi 0.3 El_Hamdaoui 0.28 El_Yousfi 0.25 Bouali 0.15 "
            "El_Ouali 0.22 El_Allali 0.15 Ben_Ali 0.15 Azzouz 0.15 El_Bakkali 0.3 El_Morabet 0.2 Ouali 0.15 "
            "El_Mansouri 0.2 Amrani 0.2 Idrissi 0.15 Achahbar 0.15 Chaouch 0.1 Haddou 0.15 El_Fassi 0.1 Abdellaoui 0.2",
            9000,
            "oui",
        ),
        romanised=True,
    ),
    Origin(
        "surinamese and caribbean",
        560,
        2,
        0.03,
        0.005,
        0.003,
        0.01,
        _MEN_SR,
        _WOMEN_SR,
        Names(
            "Singh 0.4 Martina 0.45 Pinas 0.3 Ramdin 0.15 Martis 0.25 Sital 0.1 Kartosen 0.1 Jhinkoe 0.05 Gopal 0.08 "
            "Vrede 0.12 Landveld 0.1 Wijngaarde 0.15 Amatali 0.1 Cairo 0.12 Doorn 0.08 Rosaria 0.15 "
            "Maduro 0.15 Croes 0.2",
            12000,
            "doe",
        ),
    ),
    Origin(
        "polish",
        520,
        1.6,
        0.26,
        0.002,
        0.3,
        0.08,
        _MEN_PL,
        _WOMEN_PL,
        Names(
            "Nowak 0.54 Kowalski 0.37 Wiśniewski 0.29 Wójcik 0.26 Kowalczyk 0.26 Kamiński 0.25 Lewandowski 0.24 "
            "Zieliński 0.24 Szymański 0.23 Woźniak 0.23 Dąbrowski 0.22 Kozłowski 0.2 Jankowski 0.18 Mazur 0.18 "
            "Wojciechowski 0.17 Kwiatkowski 0.17 Krawczyk 0.17 Kaczmarek 0.16 Piotrowski 0.16 Grabowski 0.16",
            20000,
            "ski",
        ),
    ),
    Origin(
        "romanian, bulgarian",
        400,
        1.8,
        0.22,
        0.004,
        0.3,
        0.1,
        _MEN_RO,
        _WOMEN_RO,
        Names(
            "Popa 0.9 Popescu 0.7 Ionescu 0.55 Radu 0.45 Dumitru 0.4 Stan 0.4 Stoica 0.35 Gheorghe 0.35 Ivanov 0.9 "
            "Georgiev 0.7 Dimitrov 0.7 Petrov 0.5 Nikolov 0.4 Rusu 0.4 Munteanu 0.35 Matei 0.3 Marin 0.35 Todorov 0.3 "
            "Constantin 0.3 Ciobanu 0.3",
            12000,
            "eanu",
        ),
    ),
    Origin(
        "arabic",
        380,
        2.5,
        0.1,
        0.28,
        0.12,
        0.05,
        _MEN_AR,
        _WOMEN_AR,
        Names(
            "Al_Hassan 0.5 Al_Ahmad 0.5 Al_Ali 0.4 Al_Mohammad 0.4 Khalil 0.3 Haddad 0.3 Al_Hussein 0.3 Ibrahim 0.3 "
            "Al_Khatib 0.25 Shaikh 0.2 Al_Jasim 0.2 Darwish 0.2 Saleh 0.25 Al_Masri 0.2 Hamdan 0.15 Al_Obeid 0.15 "
            "Najjar 0.2 Khoury 0.15 Al_Saadi 0.1 Mansour 0.2",
            7000,
            "awi",
        ),
        patronymic=0.35,
        romanised=True,
    ),
    Origin(
        "eritrean, somali, ethiopian",
        115,
        3,
        0.08,
        0.33,
        0.14,
        0.06,
        _MEN_HORN,
        _WOMEN_HORN,
        None,
        1.0,
        True,
    ),
    Origin(
        "afghan, iranian",
        145,
        2.5,
        0.05,
        0.3,
        0.1,
        0.05,
        _MEN_AF,
        _WOMEN_AF,
        Names(
            "Ahmadi 1.6 Mohammadi 1.8 Hosseini 1.6 Karimi 1 Rezai 0.9 Haidari 0.7 Rahimi 1 Amiri 0.7 Noori 0.8 "
            "Sharifi 0.6 Azizi 0.6 Alizada 0.5 Jafari 0.6 Hashemi 0.5 Nazari 0.6 Sultani 0.4 Popal 0.3 Stanekzai 0.2",
            3000,
            "zada",
        ),
        patronymic=0.1,
        romanised=True,
    ),
    Origin(
        "other",
        1_150,
        1.3,
        0.05,
        0.05,
        0.03,
        0.02,
        _MEN_SR,
        _WOMEN_SR,
        Names(
            "Nguyen 0.35 Chen 0.45 Wang 0.4 Li 0.4 Khan 0.5 Silva 0.4 dos_Santos 0.25 Kumar 0.3 Sharma 0.2 Zhang 0.35 "
            "Tran 0.15 Singh 0.3 Gonzalez 0.2 Rodriguez 0.2 Garcia 0.2 Mensah 0.2 Owusu 0.15 Traore 0.1 Diallo 0.2 "
            "Bah 0.15",
            40000,
            "ing",
        ),
    ),
)


@cache
def surnames_of(origin: Origin) -> tuple[list[str], list[float]]:
    """Every surname of an origin with its share."""
    if origin.surnames is None and not origin.patronymic:
        return dutch_surnames()
    names: list[str] = []
    shares: list[float] = []
    if origin.surnames is not None:
        more, weights = origin.surnames.table()
        names += more
        shares += [(1 - origin.patronymic) * weight for weight in weights]
    for name, share in _patronymics(origin):
        names.append(name)
        shares.append(share)
    return names, shares


def _patronymics(origin: Origin) -> Iterator[tuple[str, float]]:
    """Father's given name for one half, father's and grandfather's for the other."""
    if not origin.patronymic:
        return
    every, weights = origin.men.by_age[0][1].table()
    names = every[:_FATHERS]
    shares = [weight / sum(weights[:_FATHERS]) for weight in weights[:_FATHERS]]
    for name, share in zip(names, shares, strict=True):
        yield name, origin.patronymic * share / 2
    for (father, one), (grandfather, other) in product(zip(names, shares, strict=True), repeat=2):
        yield f"{father} {grandfather}", origin.patronymic * one * other / 2
