"""What an answer to a sample of InfiniteBench is worth, 0 to 1.

Source: X. Zhang et al., ∞Bench, arXiv 2402.13718, appendix, and what its program does where the paper is silent.
"""
import re

import words
from rouge_score import rouge_scorer

LINES = rouge_scorer.RougeScorer(["rougeLsum"], use_stemmer=False)


def without(marks, text):
    """The text with a space for each of some marks."""
    return re.sub("[" + re.escape(marks) + "]", " ", text)


def squeezed(text):
    return re.sub(" +", " ", text)


def after(phrases, text):
    """What follows the first of some phrases that the text has, less one character; None without any."""
    phrase = next((phrase for phrase in phrases if phrase in text), None)
    return None if phrase is None else text.split(phrase, 1)[1][1:]


def starts(text, labels):
    return bool(text) and text.startswith(tuple(labels))


def first_number(prediction, labels):
    number = re.search("[0-9]+", prediction)
    return number is not None and number[0] == str(labels[0])


def value(prediction, labels):
    return labels[0] in without("\n:\"'.,?!{}", prediction).split()


def name(prediction, labels):
    return labels[0] in without("\n:\"'.,?!{}", prediction).upper().split()


def summary(prediction, labels):
    return max(LINES.score(label, prediction)["rougeLsum"].fmeasure for label in labels)


def question(prediction, labels):
    return max(words.f1(words.english(prediction), words.english(label)) for label in labels)


def chinese_question(prediction, labels):
    """Characters are words."""
    return max(words.f1(words.chinese(prediction), words.chinese(label)) for label in labels)


def choice(prediction, labels):
    """A first letter of A to D decides; else an answer that is the right text or letter; else what follows a phrase
    such as "answer is"; else the first word that is a part of "ABCD" (so "AB" decides, wrongly)."""
    prediction = prediction.strip()
    if prediction[:1] in tuple("ABCD"):
        return prediction[0] in labels
    if prediction in labels:
        return True
    plain = squeezed(without("\n\"'.,?!{}", prediction))
    rest = after(["answer is:", "answer:", "answer is", "option is"], plain)
    if rest is not None:
        return starts(rest, labels)
    return next((word for word in plain.split() if word in "ABCD"), None) in labels


def debugging(prediction, labels):
    """The letter with a full stop or colon at the start; else letter or name after a phrase such as "answer is:"."""
    function, letter = labels
    prediction = prediction.strip()
    if starts(prediction, [letter + ".", letter + ":"]):
        return True
    plain = squeezed(re.sub("[Oo]ption", " ", without("\n`'\"-*", prediction)))
    return starts(after(["answer is:", "is:", "answer:", "correct option is:"], plain), [letter, function])


def result(prediction, labels):
    """The last word as an integer."""
    try:
        return int(without("\n.`'\":", prediction).split()[-1]) == number(labels[0])
    except (IndexError, ValueError):
        return False


def find(prediction, labels):
    """The first number; one with a fraction is wrong where an integer is right."""
    right = number(labels[0])
    found = re.search(r"[0-9]+(?:\.[0-9]+)?", prediction)
    if found is None or isinstance(right, int) and "." in found[0]:
        return False
    return float(found[0]) == right


def calculation(prediction, labels):
    """The share of the right values before the first wrong one. Signs are not read."""
    right = 0
    for spelled, label in zip(re.findall("[0-9]+", prediction), labels, strict=False):
        if (spelled.lstrip("0") or "0") != str(number(label)):
            break
        right += 1
    return right / len(labels)


def number(label):
    try:
        found = float(label)
    except (TypeError, ValueError):
        raise ValueError("ground_truth: is no number") from None
    return int(label) if isinstance(label, str) and found == int(found) else label


TASKS = {
    "passkey": first_number, "number_string": first_number, "kv_retrieval": value, "longbook_sum_eng": summary,
    "longbook_qa_eng": question, "longbook_choice_eng": choice, "longdialogue_qa_eng": name,
    "longbook_qa_chn": chinese_question, "code_debug": debugging, "code_run": result, "math_calc": calculation,
    "math_find": find,
}
# Tasks whose scores are all 0 or 1.
YES_OR_NO = frozenset(TASKS) - {"longbook_sum_eng", "longbook_qa_eng", "longbook_qa_chn", "math_calc"}


def task_name(file_name):
    return file_name.removeprefix("preds_")


def length_class(_):
    return None


def group(_):
    return None


def flat(label):
    """A right answer is a value, a list of values, or a list of lists."""
    return [value for part in label for value in flat(part)] if isinstance(label, list) else [label]


def score(name, line, _):
    """`line` has `prediction` or `pred`, and `ground_truth` or `label`: with options the right one and its letter."""
    labels = flat(line["ground_truth"] if "ground_truth" in line else line["label"])
    if not labels:
        raise ValueError("ground_truth: has none")
    if TASKS[name] in (choice, debugging) and len(labels) != 2:
        raise ValueError("ground_truth: is no option with its letter")
    return float(TASKS[name](line["prediction"] if "prediction" in line else line["pred"], labels))
