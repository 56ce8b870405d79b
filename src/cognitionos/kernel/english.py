"""English as far as two texts are compared by it: small words, numbers and units in the ways they are written."""

from functools import lru_cache


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


QUESTION = words("how what which who whom whose when where why")
"""Read by the question's kind."""
GRAMMAR = QUESTION | words("""
        a an the this that these those my your our its his her their mine yours i me you we us he she it they him them
        one someone somebody anyone anybody everyone people myself yourself itself
        is are was were be been being am do does did doing done has have had having can could may might must shall
        should will would need to of in on at for from by with as into onto about through via and or but if then than
        so there here not no never too also please just really actually exactly currently some any very
        s t m re ve ll d out up get got go going
        """)
"""Carries no content of its own; what it changes (negation, direction, condition) other guards read."""
FOREIGN = words("""
    der die das und ist ich wie nicht ein eine mein meine mit auf warum kann wo wer oder auch sich werden wird
    le la les une est je que pour dans comment pourquoi mon ma mes quel quelle sont pas avec sur du des puis peut
    el los las como para por mi es un una cual cuando donde porque puedo hacer del al con
    il lo gli che di per non sono come perche quando dove posso della het een van hoe waarom mijn ik niet kan
    o os um uma meu minha posso fazer qual quais onde jak co je na nie czy co jest
    """) - words("die as do in on no a to me we so is was am be at i co je")
"""Small words of other languages: who writes with them is not judged by English rules."""

NUMBERS = dict(
    pair.split("=")
    for pair in words(
        """
        zero=0 two=2 three=3 four=4 five=5 six=6 seven=7 eight=8 nine=9 ten=10 eleven=11 twelve=12 thirteen=13
        fourteen=14 fifteen=15 sixteen=16 seventeen=17 eighteen=18 nineteen=19 twenty=20 thirty=30 forty=40 fifty=50
        sixty=60 seventy=70 eighty=80 ninety=90 hundred=100 thousand=1000 million=1000000 billion=1000000000
        dozen=12 once=1x twice=2x thrice=3x half=1/2 quarter=1/4 double=2x triple=3x second=2. third=3. fourth=4.
        fifth=5. sixth=6. seventh=7. eighth=8. ninth=9. tenth=10.
        """
    )
)
"""Numbers written out ("one" is mostly a pronoun and left out; an ordinal ends in a point)."""
UNITS = {
    unit: names[0]
    for names in (
        ("%", "percent", "percentage"),
        ("$", "dollar", "dollars", "usd", "buck", "bucks"),
        ("€", "euro", "euros", "eur"),
        ("£", "gbp", "sterling"),
        ("¥", "yen", "jpy"),
        ("lb", "lbs", "pound", "pounds"),
        ("kg", "kilo", "kilos", "kilogram", "kilograms", "kilogramme", "kilogrammes"),
        ("g", "gram", "grams", "gramme", "grammes"),
        ("mg", "milligram", "milligrams"),
        ("oz", "ounce", "ounces"),
        ("km", "kilometer", "kilometers", "kilometre", "kilometres", "kms"),
        ("m", "meter", "meters", "metre", "metres"),
        ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
        ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
        ("mile", "miles", "mi"),
        ("foot", "feet", "ft"),
        ("inch", "inches"),
        ("l", "liter", "liters", "litre", "litres"),
        ("ml", "milliliter", "milliliters", "millilitre", "millilitres"),
        ("s", "sec", "secs", "second", "seconds"),
        ("min", "mins", "minute", "minutes"),
        ("h", "hour", "hours", "hr", "hrs"),
        ("day", "days"),
        ("week", "weeks"),
        ("month", "months"),
        ("year", "years", "yr", "yrs"),
        ("degree", "degrees", "°"),
        ("kb", "kilobyte", "kilobytes"),
        ("mb", "megabyte", "megabytes"),
        ("gb", "gigabyte", "gigabytes"),
        ("tb", "terabyte", "terabytes"),
        ("mph",),
        ("kmh",),
        ("w", "watt", "watts"),
        ("kw", "kilowatt", "kilowatts"),
        ("v", "volt", "volts"),
    )
    for unit in names
}
"""A unit in the ways it is written."""
_ENDINGS = (("ies", 5, "y"), ("sses", 6, "ss"), ("ches", 6, "ch"), ("shes", 6, "sh"), ("xes", 5, "x"))
"""(ending, least letters of the word, what stands for the ending)."""


def stem(word: str) -> str:
    """A word without its plural or ending, as far as that is safe without a dictionary."""
    for ending, least, put in _ENDINGS:
        if word.endswith(ending) and len(word) >= least:
            return word[: -len(ending)] + put
    if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@lru_cache(maxsize=8192)
def root(word: str) -> str:
    """A verb without the ending of its tense: `banned`, `banning` and `ban` have one root, which need not be a word."""
    word = stem(word)
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word[: -len(ending)]
            return word[:-1] if word[-1] == word[-2] and word[-1] not in "lsz" and len(word) > 3 else word
    return word.removesuffix("e")
