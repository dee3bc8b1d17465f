"""What an answer to a sample of LongBench is worth, 0 to 1.

Source: Y. Bai et al., LongBench, arXiv 2308.14508, section 4, and what its program does where the paper is silent.
"""
import dataclasses
import re
import typing
import warnings

import jieba
import rouge
import words

with warnings.catch_warnings():
    # It would rather have python-Levenshtein, which computes another ratio.
    warnings.simplefilter("ignore")
    from fuzzywuzzy import fuzz

jieba.setLogLevel(60)
ROUGE_L = rouge.Rouge(metrics=["rouge-l"], stats=["f"])
TOO_LONG = "comparisons count 0, as the package rouge runs out of stack at such long sentences"


def question(prediction, answer, _):
    return words.f1(words.english(prediction), words.english(answer))


def chinese_question(prediction, answer, _):
    parts = ([words.chinese(word) for word in jieba.cut(text)] for text in (prediction, answer))
    return words.f1(*([word for word in part if word] for part in parts))


def summary(prediction, answer, _):
    try:
        return ROUGE_L.get_scores(prediction, answer)[0]["rouge-l"]["f"]
    except ValueError:  # a text without a sentence
        return 0.0


def chinese_summary(prediction, answer, classes):
    return summary(" ".join(jieba.cut(prediction)), " ".join(jieba.cut(answer)), classes)


def classification(prediction, answer, classes):
    """The right class's share of the classes that are named; parts of its name do not count.

    The published program removes them from the list that it walks along and passes over what follows a removed one."""
    named = [name for name in classes if name in prediction]
    place = 0
    while place < len(named):
        name = named[place]
        if name != answer and name in answer:
            named.remove(name)
        place += 1
    return 1 / len(named) if answer in named else 0.0


def count(prediction, answer, _):
    """The share of the numbers that are the right one."""
    numbers = re.findall(r"\d+", prediction)
    return numbers.count(answer) / len(numbers) if numbers else 0.0


def retrieval(prediction, answer, _):
    number = re.search(r"(?:Paragraph |段落)(\d+)", answer)
    if number is None:
        raise ValueError("answers: names no paragraph")
    return count(prediction, number[1], _)


def code(prediction, answer, _):
    """The first line without a mark of comments or formatting, character by character."""
    lines = prediction.lstrip("\n").split("\n")
    line = next((line for line in lines if not any(mark in line for mark in ("`", "#", "//"))), "")
    return fuzz.ratio(line, answer) / 100


@dataclasses.dataclass(frozen=True)
class Task:
    group: str
    rule: typing.Callable[[str, str, list], float]
    # Whether the first line alone counts.
    first_line: bool = False


TASKS = {
    **dict.fromkeys(["narrativeqa", "qasper", "multifieldqa_en"], Task("single-document QA", question)),
    "multifieldqa_zh": Task("single-document QA", chinese_question),
    **dict.fromkeys(["hotpotqa", "2wikimqa", "musique"], Task("multi-document QA", question)),
    "dureader": Task("multi-document QA", chinese_summary),
    **dict.fromkeys(["gov_report", "qmsum", "multi_news"], Task("summarization", summary)),
    "vcsum": Task("summarization", chinese_summary),
    "trec": Task("few-shot", classification, first_line=True),
    "triviaqa": Task("few-shot", question, first_line=True),
    "samsum": Task("few-shot", summary, first_line=True),
    "lsht": Task("few-shot", classification, first_line=True),
    "passage_count": Task("synthetic", count),
    **dict.fromkeys(["passage_retrieval_en", "passage_retrieval_zh"], Task("synthetic", retrieval)),
    **dict.fromkeys(["lcc", "repobench-p"], Task("code", code)),
}
# Tasks whose scores are all 0 or 1.
YES_OR_NO = frozenset()


def task_name(file_name):
    return file_name.removesuffix("_e")


def length_class(line):
    """The class of lengths in which LongBench-E counts a sample, too."""
    length = line.get("length")
    return None if length is None else "0-4k" if length < 4000 else "4-8k" if length < 8000 else "8k+"


def group(name):
    return TASKS[name].group


def score(name, line, notes):
    """The best over the right answers.

    `line` has `pred`, `answers` and, where the task needs them, `all_classes`; `notes` counts what a reader must know.
    """
    task = TASKS[name]
    prediction = line["pred"]
    if not line["answers"]:
        raise ValueError("answers: has none")
    if task.rule is classification and not line["all_classes"]:
        raise ValueError("all_classes: has none")
    if task.first_line:
        prediction = prediction.lstrip("\n").split("\n")[0]
    best = 0.0
    for answer in line["answers"]:
        try:
            best = max(best, task.rule(prediction, answer, line.get("all_classes")))
        except RecursionError:
            notes[TOO_LONG] += 1
    return best
