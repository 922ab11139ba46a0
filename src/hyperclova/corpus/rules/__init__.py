"""The rules we ship, by the names that configurations and reports use."""

_HERE = "hyperclova.corpus.rules"

RULES: dict[str, str] = {
    # normalise
    "unicode": f"{_HERE}.normalise:Unicode",
    "mojibake": f"{_HERE}.normalise:Mojibake",
    "escapes": f"{_HERE}.normalise:Escapes",
    "whitespace": f"{_HERE}.normalise:Whitespace",
    # filter
    "too-short": f"{_HERE}.length:TooShort",
    "grapheme-repetition": f"{_HERE}.repetition:GraphemeRepetition",
    "symbol-repetition": f"{_HERE}.repetition:SymbolRepetition",
    "line-repetition": f"{_HERE}.repetition:LineRepetition",
    "ngram-repetition": f"{_HERE}.repetition:NgramRepetition",
    "not-korean": f"{_HERE}.language:NotKorean",
    "profanity": f"{_HERE}.profanity:Profanity",
    "spam": f"{_HERE}.spam:Spam",
    "low-quality": f"{_HERE}.quality:LowQuality",
    # cut
    "web-boilerplate": f"{_HERE}.boilerplate:WebBoilerplate",
    "news-boilerplate": f"{_HERE}.boilerplate:NewsBoilerplate",
    "repeated-title": f"{_HERE}.title:RepeatedTitle",
    "answers": f"{_HERE}.answers:Answers",
    # finish
    "anonymise": f"{_HERE}.anonymise:Anonymise",
    "prefix": f"{_HERE}.prefix:Prefix",
}
