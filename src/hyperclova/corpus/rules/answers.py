"""The rule that keeps the good answers of question-and-answer pages."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict


@dataclass(frozen=True, kw_only=True)
class Answers(Rule):
    """Of a question's answers, those stay that the asker adopted or a certified expert gave, unless
    their author's reputation is low.

    A document says so in its metadata::

        {"source": "kin", "title": "전세 계약을 연장하려면?", "text": "두 달 뒤에 만기인데 …",
         "answers": [{"text": "만기 두 달 전까지 …", "adopted": true, "reputation": 0.92},
                     {"text": "변호사입니다. …", "expert": true},
                     {"text": "몰라요", "reputation": 0.05}]}

    ``text`` of the document is the question (or the key ``question``, if it is there); of an
    answer only ``text`` is required. ``expert`` is true, or the profession that was certified.
    ``reputation`` may have any scale, as long as :attr:`reputation` has the same; an author
    without one is not judged by it, and neither is an expert, whose certificate vouches for him.

    The new text is the question and the answers that stay, adopted ones first, and ``answers`` and
    ``question`` leave the metadata. A question without any such answer is dropped. Documents
    without ``answers`` pass, and so do those where it is not a list of objects with texts.

    Source: paper, Appendix A.1 (Korean Q&A site: adopted answers and those of certified experts;
    even an adopted answer is dropped if its author's reputation is low).
    """

    reputation: float = 0.1
    """Authors below this are not trusted, even if their answer was adopted."""
    between: str = "\n\n"
    """What stands between the question and each answer."""

    def apply(self, document: Document) -> Verdict:
        answers = document.meta.get("answers")
        if not _is_answers(answers):
            return Verdict(document)
        kept = [answer for answer in answers if self._keeps(answer)]
        if not kept:
            return Verdict(
                None, f"none of {len(answers)} answers is adopted or expert, and trusted", 0
            )
        kept.sort(key=lambda answer: not _is_true(answer.get("adopted")))
        question = document.meta.get("question")
        parts = [question if isinstance(question, str) else document.text]
        parts += [answer["text"] for answer in kept]
        text = self.between.join(part for part in parts if part.strip())
        meta = {
            key: value for key, value in document.meta.items() if key not in ("answers", "question")
        }
        return Verdict(
            replace(document, text=text, meta=meta),
            f"{len(kept)} of {len(answers)} answers kept",
            len(kept),
        )

    def _keeps(self, answer: Mapping[str, Any]) -> bool:
        if not answer["text"].strip():
            return False
        if _is_expert(answer.get("expert")):
            return True
        reputation = answer.get("reputation")
        low = (
            isinstance(reputation, int | float)
            and not isinstance(reputation, bool)
            and not reputation >= self.reputation
        )
        return _is_true(answer.get("adopted")) and not low


def _is_answers(answers: object) -> TypeGuard[list[Mapping[str, Any]]]:
    return (
        isinstance(answers, list)
        and bool(answers)
        and all(
            isinstance(answer, Mapping) and isinstance(answer.get("text"), str)
            for answer in answers
        )
    )


def _is_true(value: object) -> bool:
    return value is True or value == 1


def _is_expert(value: object) -> bool:
    return _is_true(value) or (isinstance(value, str) and bool(value.strip()))
