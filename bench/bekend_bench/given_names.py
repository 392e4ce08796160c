"""Distributions of names, and the given names of each origin: published heads, rounded, and made-up tails."""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final

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


def made_up(number: int, ending: str) -> str:
    """The name of that number: three syllables and an ending, no two alike."""
    rest, first = divmod(number, len(_SYLLABLES))
    third, second = divmod(rest, len(_SYLLABLES))
    # Neighbours in rank are not alike in writing.
    order = ((first * 37 + 11) % 80, (second * 53 + 7) % 80, (third * 29 + 3) % 80)
    return ("".join(_SYLLABLES[one] for one in order) + ending).capitalize()


MEN_NL: Final = Given(
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
WOMEN_NL: Final = Given(
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


def _of_any_age(head: str, tail: int, ending: str) -> Given:
    return Given(((0, Names(head, tail, ending)),))


MEN_AR: Final = _of_any_age(
    "Mohammed 9.5 Ahmad 3.5 Ali 2.6 Hassan 1.8 Hussein 1.8 Omar 1.7 Ibrahim 1.5 Khaled 1.4 Mahmoud 1.4 Youssef 1.3 "
    "Abdullah 1.3 Mustafa 1.2 Abdulrahman 1 Bilal 0.8 Hamza 0.9 Karim 0.7 Nasser 0.6 Samir 0.6 Tarek 0.6 Yassin 0.6 "
    "Ismail 0.6 Zakaria 0.5 Saleh 0.5 Rami 0.4 Anas 0.4 Amjad 0.3 Fadi 0.3 Wael 0.3",
    700,
    "am",
)
WOMEN_AR: Final = _of_any_age(
    "Fatima 5.5 Mariam 2.2 Aisha 1.8 Amina 1.5 Zainab 1.6 Khadija 1.5 Nour 1.4 Hanan 0.9 Samira 0.8 Rania 0.7 "
    "Layla 0.9 Huda 0.8 Iman 0.8 Sara 1 Salma 0.6 Noor 0.4 Maryam 0.6 Hiba 0.4 Rana 0.4 Dina 0.3",
    700,
    "iya",
)
MEN_MA: Final = _of_any_age(
    "Mohamed 11 Ahmed 3.2 Hassan 2 Abdelkader 1.2 Said 1.6 Mustapha 1.5 Youssef 1.8 Rachid 1.3 Khalid 1.2 Hamza 1 "
    "Bilal 1 Ayoub 0.9 Ali 1.2 Omar 1 Abdellah 1 Brahim 0.8 Noureddine 0.7 Abderrahman 0.7 Yassine 0.9 Soufian 0.6 "
    "Karim 0.6 Ismail 0.6 Driss 0.4 Lahcen 0.4 Zakaria 0.5",
    600,
    "ine",
)
WOMEN_MA: Final = _of_any_age(
    "Fatima 5.5 Khadija 2.4 Naima 1.4 Aicha 1.8 Samira 1.4 Malika 1 Rachida 1 Mina 0.8 Yamina 0.7 Hanan 0.9 Karima 0.9 "
    "Nadia 0.9 Salma 0.8 Ikram 0.8 Sara 0.8 Nora 0.7 Loubna 0.6 Latifa 0.7 Zohra 0.7 Halima 0.7",
    600,
    "ya",
)
MEN_HORN: Final = _of_any_age(
    "Mohamed 7 Ahmed 3.8 Ali 3.2 Hassan 2.6 Abdi 2.6 Abdullahi 2.2 Omar 1.9 Ibrahim 1.8 Yusuf 1.6 Ismail 1.2 "
    "Abdirahman 1.5 Tesfay 1.8 Filmon 1 Yonas 1 Samuel 1.1 Haile 1 Berhane 1 Kidane 0.9 Tekle 0.8 Gebremedhin 0.6 "
    "Mehari 0.7 Daniel 1 Robel 0.7 Kibrom 0.6 Michael 0.9 Abraham 0.8 Yohannes 0.8 Solomon 0.7 Habtom 0.5 Semere 0.5",
    250,
    "om",
)
WOMEN_HORN: Final = _of_any_age(
    "Fadumo 3 Amina 2.6 Halima 2 Fatuma 1.6 Hodan 1.2 Asha 1.2 Sahra 1.2 Maryan 1.1 Selam 1.3 Rahel 0.9 Senait 0.9 "
    "Tsega 0.6 Letebrhan 0.5 Almaz 0.7 Zewdi 0.4 Freweini 0.5 Semhar 0.5 Eden 0.6 Winta 0.4 Feven 0.4",
    250,
    "et",
)
MEN_AF: Final = _of_any_age(
    "Mohammad 12 Ahmad 4.5 Ali 4 Abdul 1.4 Hossein 3 Reza 2.4 Mahdi 1.6 Hamid 1.2 Omid 0.7 Farid 0.7 Najib 0.6 "
    "Amir 1.5 Sayed 1.3 Ghulam 0.7 Mirwais 0.4 Nasir 0.6 Jawad 0.6 Karim 0.5 Saeed 0.9 Javad 0.6",
    500,
    "ullah",
)
WOMEN_AF: Final = _of_any_age(
    "Fatemeh 5 Zahra 4 Maryam 3 Zainab 1.6 Leila 1 Nasrin 0.8 Farida 0.8 Shahla 0.6 Sara 1 Parisa 0.5 Mina 0.6 "
    "Masuma 0.8 Nilofar 0.4 Zohra 0.6 Shirin 0.4",
    500,
    "gul",
)
MEN_TR: Final = _of_any_age(
    "Mehmet 3.6 Mustafa 2.8 Ahmet 2.5 Ali 2.4 Hüseyin 1.9 Hasan 1.9 İbrahim 1.4 Ömer 1.1 Yusuf 1.2 Osman 1.1 Murat 1.3 "
    "Ramazan 0.9 Emre 0.8 Halil 0.9 Süleyman 0.8 Kemal 0.5 Recep 0.7 Serkan 0.5 Emirhan 0.3 İsmail 1.1 Burak 0.5",
    900,
    "han",
)
WOMEN_TR: Final = _of_any_age(
    "Fatma 4 Ayşe 3.2 Emine 2.8 Hatice 2.6 Zeynep 1.4 Elif 1.3 Meryem 1 Özlem 0.7 Sevim 0.7 Hacer 0.6 Zehra 0.8 "
    "Havva 0.6 Gülsüm 0.5 Yasemin 0.6 Esra 0.6 Sultan 0.6 Songül 0.4 Büşra 0.5 Kübra 0.5",
    900,
    "nur",
)
MEN_PL: Final = _of_any_age(
    "Piotr 4.2 Krzysztof 4 Andrzej 3.2 Tomasz 3.6 Paweł 3.6 Jan 2.4 Michał 3.2 Marcin 3.1 Jakub 3 Marek 2.6 "
    "Grzegorz 2.5 Łukasz 2.9 Adam 2.5 Mateusz 2.6 Zbigniew 1.8 Rafał 2.1 Robert 1.9 Dariusz 2 Kamil 2 Mariusz 1.8 "
    "Wojciech 1.8 Dawid 1.5 Sebastian 1.3 Artur 1.4 Jarosław 1.4 Daniel 1.3 Damian 1.2 Przemysław 1.1 Sławomir 1.1",
    500,
    "mir",
)
WOMEN_PL: Final = _of_any_age(
    "Anna 5.6 Katarzyna 3.5 Maria 3 Małgorzata 3 Agnieszka 2.9 Barbara 2.2 Ewa 2.3 Magdalena 2.5 Elżbieta 2 Joanna 2.3 "
    "Aleksandra 2 Monika 2 Karolina 1.7 Natalia 1.6 Justyna 1.5 Zofia 1.3 Beata 1.3 Dorota 1.3 Sylwia 1.2 Paulina 1.4",
    500,
    "sława",
)
MEN_RO: Final = _of_any_age(
    "Gheorghe 3.8 Ion 3.6 Vasile 3 Andrei 3.2 Alexandru 3 Constantin 2.6 Nicolae 2.4 Mihai 2.4 Ionuț 2 Florin 1.9 "
    "Marian 1.9 Cristian 1.9 Daniel 2 Adrian 2.1 Georgi 2 Ivan 2 Dimitar 1.8 Marius 1.6 Ștefan 1.5 Bogdan 1.3 "
    "Nikolay 1.2 Catalin 1.1 Stoyan 0.6",
    600,
    "escu",
)
WOMEN_RO: Final = _of_any_age(
    "Maria 7 Elena 4.2 Ana 3.2 Ioana 2.3 Mihaela 1.9 Andreea 2 Cristina 1.8 Daniela 1.7 Alexandra 1.7 Mariana 1.4 "
    "Gabriela 1.3 Ivanka 0.9 Maria-Magdalena 0.4 Desislava 0.6 Florentina 0.7 Georgiana 0.8 Rodica 0.6 Simona 0.8",
    600,
    "ița",
)
MEN_SR: Final = _of_any_age(
    "Johannes 1 Jerrel 0.5 Kenneth 0.8 Marlon 0.6 Roy 0.8 Orlando 0.6 Ricardo 0.8 Rudy 0.5 Mohamed 0.6 Radjesh 0.5 "
    "Anand 0.5 Ruben 0.6 Errol 0.5 Glenn 0.5 Robby 0.4 Dennis 0.7 Michael 0.9 Kevin 0.6 Jason 0.4 Angelo 0.5",
    3500,
    "on",
)
WOMEN_SR: Final = _of_any_age(
    "Maria 1.2 Sandra 0.8 Joyce 0.6 Shanti 0.5 Anita 0.7 Lilian 0.5 Priya 0.3 Cheryl 0.4 Ingrid 0.5 Melissa 0.5 "
    "Johanna 0.5 Sharon 0.5 Angela 0.5 Marlene 0.4 Chandra 0.3",
    3500,
    "ella",
)
