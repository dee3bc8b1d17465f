"""Writes how published packages score made-up answers: Tests/EvaluationTasksTests/Fixtures/metrics.json.

    pip install rouge==1.0.1 rouge-score==0.1.2 fuzzywuzzy==0.18.0 jieba==0.42.1     (without python-Levenshtein)
    python -W ignore Tools/verify/reference/benchmark_metrics.py

The texts are drawn from few words, so that words repeat and sequences match in several ways.
"""
import json
import math
import os
import random

import jieba
from fuzzywuzzy import fuzz
from jieba import finalseg
from rouge import Rouge
from rouge_score import rouge_scorer

WORDS = "the cat sat on a mat and The dog ran to sea 42 naïve Über x-ray end it's 3.5 _a_ \u00a0 ﬁne".split(" ")
CODE = "if x == y:  return x  def f(a, b):  a += 1  b.append(a)  for i in range(10):  print(i)".split("  ")
CHINESE = ("我来到北京清华大学他来到了网易杭研大厦小明硕士毕业于"
           "中国科学院计算所后在日本京都大学深造 GPT4 是 v1.5，好的。")
DICTIONARY = {"北京": 34488, "清华": 1024, "清华大学": 2053, "华大": 7, "大学": 20025, "来到": 10204, "中国": 62210,
              "科学": 15342, "科学院": 1284, "中国科学院": 321, "计算": 5128, "计算所": 3, "毕业": 3510, "硕士": 603,
              "日本": 11004, "京都": 88, "大厦": 777, "日本京都大学": 2, "深造": 90, "v1": 5}


def sentence(rng, words, least, most, ends):
    text = ""
    for _ in range(rng.randint(least, most)):
        text += rng.choice(words) + rng.choice(ends)
    return text


def rouge_l(prediction, reference):
    try:
        return Rouge().get_scores([prediction], [reference], avg=True)["rouge-l"]["f"]
    except ValueError:
        return 0.0


def boundary_probabilities(rng):
    """Gives jieba made-up probabilities of where words begin and end. Returns them as its files have them."""
    def drawn(names):
        return {name: math.log(rng.uniform(0.001, 1)) for name in names}

    finalseg.start_P = drawn("BS") | {"M": finalseg.MIN_FLOAT, "E": finalseg.MIN_FLOAT}
    finalseg.trans_P = {"B": drawn("ME"), "M": drawn("ME"), "E": drawn("BS"), "S": drawn("BS")}
    characters = sorted(set(CHINESE) - set("GPTv1.5，。 4"))
    finalseg.emit_P = {place: drawn(c for c in characters if rng.random() < 0.8) for place in "BMES"}
    return {name: "from __future__ import unicode_literals\n\nP=" + ascii(table) for name, table in (
        ("start", finalseg.start_P), ("transitions", finalseg.trans_P), ("emissions", finalseg.emit_P))}


def main():
    rng = random.Random(20)
    lines = rouge_scorer.RougeScorer(["rougeLsum"], use_stemmer=False)
    pairs = [("", ""), ("", "the cat"), ("the cat", ""), (". .", "the"), ("...", "the cat."), ("the cat. ", "the cat"),
             ("the\ncat", "the cat"), ("the cat sat", "the cat sat")]
    ends = [" ", " ", " ", " ", ". ", ".", "\n", "  "]
    pairs += [(sentence(rng, WORDS, 0, 30, ends), sentence(rng, WORDS, 1, 40, ends)) for _ in range(60)]
    rouge = [dict(prediction=p, reference=r, summary_level=rouge_l(p, r),
                  line_level=lines.score(r, p)["rougeLsum"].fmeasure) for p, r in pairs]
    code = [("", ""), ("", "x"), ("return x", "return x"), ("a" * 150, "a" * 230), ("aba" * 100, "ab" * 120 + "c")]
    code += [(sentence(rng, CODE, 0, 6, ["\t", " ", ";"]), sentence(rng, CODE, 1, 14, ["\t", " ", ";"]))
             for _ in range(60)]
    similarity = [dict(prediction=p, reference=r, percent=fuzz.ratio(p, r)) for p, r in code]

    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../Tests/EvaluationTasksTests/Fixtures")
    dictionary = "".join(f"{word} {count} n\n" for word, count in DICTIONARY.items())
    temporary = os.path.join(path, "dictionary.txt")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(dictionary)
    jieba.setLogLevel(60)
    jieba.dt.tmp_dir = path
    tokenizer = jieba.Tokenizer(temporary)
    tokenizer.cache_file = "jieba.cache"
    tokenizer.tmp_dir = path
    tokenizer.initialize()
    os.remove(os.path.join(path, "jieba.cache"))
    os.remove(temporary)
    texts = [CHINESE, "清华大学 北京\r\n大学\t毕业v1.5!", ""]
    parts = list(DICTIONARY) + list(CHINESE)
    texts += ["".join(rng.choice(parts)[rng.randint(0, 1):] for _ in range(rng.randint(1, 12))) for _ in range(20)]
    segmentation = [dict(text=t, words=list(tokenizer.cut(t, HMM=False))) for t in texts]
    boundaries = boundary_probabilities(random.Random(2))
    for case in segmentation:
        case["joined"] = list(tokenizer.cut(case["text"]))
    more = ["".join(rng.choice(parts) for _ in range(rng.randint(2, 30))) for _ in range(40)]
    more += ["小明3.5%了v1.5.6-a_b好%1.", "他他", "1.5", "我a1.5%%.x"]
    segmentation += [dict(text=t, words=list(tokenizer.cut(t, HMM=False)), joined=list(tokenizer.cut(t))) for t in more]
    result = dict(rouge=rouge, similarity=similarity, segmentation=segmentation)
    with open(os.path.join(path, "metrics.json"), "w", encoding="utf-8") as file:
        # A line a case, so that changes can be read.
        file.write('{"dictionary": ' + json.dumps(dictionary, ensure_ascii=False))
        file.write(',\n"boundaries": ' + json.dumps(boundaries, ensure_ascii=False))
        for name, cases in result.items():
            file.write(f',\n"{name}": [\n' + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]")
        file.write("}\n")


if __name__ == "__main__":
    main()
