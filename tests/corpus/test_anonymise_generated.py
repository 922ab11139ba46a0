"""Recall and precision of `anonymise` on documents with planted identifiers."""

from collections import Counter

from personal_documents import FORMS, PersonalDocument, documents

from hyperclova.corpus.anonymise import KINDS, anonymise


def test_planted_identifiers_are_masked_and_nothing_else() -> None:
    planted: Counter[str] = Counter()
    missed: list[str] = []
    outside: list[str] = []
    for document in documents(2000):
        planted.update(form.form for form in document.planted)
        masked = anonymise(document.text).masked
        exact = {(mask.kind, mask.start, mask.end) for mask in masked}
        missed += [
            _show(document, item.form, item.start, item.end)
            for item in document.planted
            if (item.kind, item.start, item.end) not in exact
        ]
        outside += [
            _show(document, mask.kind, mask.start, mask.end)
            for mask in masked
            if not any(
                item.start <= mask.start and mask.end <= item.end for item in document.planted
            )
        ]
    assert len(FORMS) >= 40
    assert {form.kind for form in FORMS} == set(KINDS)
    assert min(planted[form.name] for form in FORMS) >= 40
    assert outside == []
    assert len(missed) <= 0.01 * planted.total(), missed[:20]


def test_generator_is_deterministic() -> None:
    assert list(documents(20, seed=3)) == list(documents(20, seed=3))
    assert list(documents(20, seed=3)) != list(documents(20, seed=4))


def _show(document: PersonalDocument, name: str, start: int, end: int) -> str:
    text = document.text
    around = f"{text[max(0, start - 30) : start]}⟦{text[start:end]}⟧{text[end : end + 15]}"
    return f"{name}: {around!r}"
