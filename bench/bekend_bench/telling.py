"""Can what was seen of a question tell what came of it? A classifier that tries, and the chance that it was luck.

Two simple learners look at the same numbers per question: the nearest neighbours, and naive Bayes. Each number is
replaced by its rank first, so that one slow moment of the machine does not count for more than any other. Every
question is judged by what was learned from the others (five folds). How good the better of the two would be when there
is nothing to learn is found by giving the questions each other's outcomes, again and again.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

FOLDS = 5
NEIGHBOURS = 15
_LEAST_SPREAD = 1e-3
"""So that a number which is the same for all is no division by zero; ranks lie between 0 and 1."""

Row = Sequence[float]


@dataclass(frozen=True)
class Verdict:
    """How many of `questions` the better learner told rightly; `low` and `high` are a 95 % interval of its share.

    `p`: the share of shuffled outcomes with which it did as well.
    """

    classes: int
    questions: int
    right: int
    low: float
    high: float
    p: float

    @property
    def share(self) -> float:
        """The share that was told rightly; 1 / classes is chance."""
        return self.right / self.questions

    def to_json(self) -> dict[str, float]:
        """The fields as JSON values."""
        return {
            "classes": self.classes,
            "questions": self.questions,
            "right": self.right,
            "share": round(self.share, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "p": round(self.p, 4),
        }


def tell(rows: Sequence[Row], labels: Sequence[str], *, shuffles: int = 999, seed: int = 1) -> Verdict:
    """Try to tell the labels from the rows. All rows are of one length. Raises ValueError below ten rows."""
    if len(rows) < 2 * FOLDS or len(rows) != len(labels):
        raise ValueError("at least ten rows, and a label for each")
    draw = random.Random(seed)  # noqa: S311 - repeatable folds, not keys
    order = list(range(len(rows)))
    draw.shuffle(order)
    ranked = _ranked([rows[place] for place in order])
    truth = [labels[place] for place in order]
    learners = (_Neighbours(ranked), _Bayes(ranked))
    right = max(learner.right(truth) for learner in learners)
    as_good = 0
    shuffled = list(truth)
    for _ in range(shuffles):
        draw.shuffle(shuffled)
        as_good += max(learner.right(shuffled) for learner in learners) >= right
    low, high = _interval(right, len(truth))
    return Verdict(len(set(labels)), len(truth), right, low, high, (as_good + 1) / (shuffles + 1))


def _ranked(rows: Sequence[Row]) -> list[list[float]]:
    """Each column as ranks from 0 to 1, equal values with the same one."""
    columns = []
    for values in zip(*rows, strict=True):
        places = sorted(values)
        first: dict[float, int] = {}
        for place, value in enumerate(places):
            first.setdefault(value, place)
        counts = Counter(values)
        columns.append([(first[value] + (counts[value] - 1) / 2) / len(values) for value in values])
    return [list(row) for row in zip(*columns, strict=True)]


class _Neighbours:
    """The labels of those that look most alike, of other folds."""

    def __init__(self, rows: list[list[float]]) -> None:
        self._nearest = []
        for place, row in enumerate(rows):
            others = [at for at in range(len(rows)) if at % FOLDS != place % FOLDS]
            others.sort(key=lambda at: sum((a - b) ** 2 for a, b in zip(row, rows[at], strict=True)))
            self._nearest.append(others[:NEIGHBOURS])

    def right(self, labels: Sequence[str]) -> int:
        found = 0
        for label, nearest in zip(labels, self._nearest, strict=True):
            votes = Counter(labels[at] for at in nearest)
            found += votes.most_common(1)[0][0] == label
        return found


class _Bayes:
    """Each number by itself, with the mean and spread that it has for each label in the other folds."""

    def __init__(self, rows: list[list[float]]) -> None:
        self._rows = rows

    def right(self, labels: Sequence[str]) -> int:
        sums = self._sums(labels)
        return sum(self._fold(fold, labels, sums) for fold in range(FOLDS))

    def _sums(self, labels: Sequence[str]) -> dict[tuple[int, str], tuple[int, list[float], list[float]]]:
        width = len(self._rows[0])
        sums = {
            (fold, label): (0, [0.0] * width, [0.0] * width) for fold in range(FOLDS) for label in sorted(set(labels))
        }
        for place, (row, label) in enumerate(zip(self._rows, labels, strict=True)):
            count, first, second = sums[place % FOLDS, label]
            for at, value in enumerate(row):
                first[at] += value
                second[at] += value * value
            sums[place % FOLDS, label] = count + 1, first, second
        return sums

    def _fold(
        self, fold: int, labels: Sequence[str], sums: dict[tuple[int, str], tuple[int, list[float], list[float]]]
    ) -> int:
        known = {}
        for label in sorted(set(labels)):
            parts = [sums[other, label] for other in range(FOLDS) if other != fold]
            count = sum(part[0] for part in parts)
            if count:
                firsts = map(sum, zip(*(part[1] for part in parts), strict=True))
                seconds = map(sum, zip(*(part[2] for part in parts), strict=True))
                known[label] = [_normal(count, *both) for both in zip(firsts, seconds, strict=True)]
        right = 0
        for place in range(fold, len(self._rows), FOLDS):
            row = self._rows[place]
            scores = {
                label: sum(
                    height - (value - mean) ** 2 * weight
                    for value, (mean, weight, height) in zip(row, normals, strict=True)
                )
                for label, normals in known.items()
            }
            right += max(scores, key=lambda label: scores[label]) == labels[place]
        return right


def _normal(count: int, first: float, second: float) -> tuple[float, float, float]:
    """Mean, weight of a distance, and the logarithm of the height."""
    mean = first / count
    spread = max(second / count - mean * mean, _LEAST_SPREAD)
    return mean, 0.5 / spread, -0.5 * math.log(spread)


def _interval(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return middle - half, middle + half
