"""The rules of the published programs, quirks and all, and what is said of a bad file.

    .build/python/bin/python -m unittest discover -s Tools/score
"""
import collections
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import infinitebench
import longbench
import score
import words


class Words(unittest.TestCase):
    def test_english(self):
        self.assertEqual(words.f1(words.english("The cat!"), words.english("a CAT")), 1)
        self.assertEqual(words.f1(words.english("the"), words.english("the")), 0)
        # Precision 1/2, recall 1/3; then a word counts as often as both have it: 2 of 3 and 2 of 2.
        self.assertAlmostEqual(words.f1(["red", "dog"], ["red", "old", "cat"]), 0.4)
        self.assertAlmostEqual(words.f1(["no", "no", "no"], ["no", "no"]), 0.8)
        # Articles between other characters than letters go, those within words stay.
        self.assertEqual(words.english("the’s than a1 an"), ["’s", "than", "a1"])

    def test_chinese(self):
        # The published list of marks has the closing 》 but not the opening 《.
        self.assertEqual(words.chinese("《红楼梦》， A!"), "《红楼梦a")


class LongBench(unittest.TestCase):
    def score(self, task, prediction, answers, classes=None):
        return longbench.score(task, dict(pred=prediction, answers=answers, all_classes=classes), {})

    def test_questions(self):
        """The best of the answers counts; only the first line where the task says so."""
        self.assertEqual(self.score("hotpotqa", "Paris\nand more", ["London", "paris"]), 0.5)
        self.assertEqual(self.score("triviaqa", "\n\nParis\nand more", ["London", "paris"]), 1)
        # Words are jieba's: 红楼梦 is one, 红楼 another.
        self.assertEqual(self.score("multifieldqa_zh", "红楼梦，作者", ["红楼梦"]), 2 / 3)
        self.assertEqual(self.score("multifieldqa_zh", "红楼", ["红楼梦"]), 0)

    def test_summaries(self):
        self.assertAlmostEqual(self.score("gov_report", "a b", ["a b"]), 1)
        # Words count once however often they occur; sentences end at full stops.
        self.assertAlmostEqual(self.score("samsum", "the cat. the", ["the cat"]), 1)
        self.assertAlmostEqual(self.score("vcsum", "红楼梦", ["红楼梦 作者"]), 2 / 3)
        self.assertEqual(self.score("samsum", "", ["a"]), 0)

    def test_long_sentences(self):
        """What the package cannot compare counts 0, as in the published program, and is told."""
        text, other = (" ".join(map(str, [0, *numbers])) for numbers in (range(1, 600), range(600, 1200)))
        line, notes = dict(pred=text, answers=[other]), collections.Counter()
        self.assertEqual(longbench.score("gov_report", line, notes), 0)
        self.assertEqual(notes[longbench.TOO_LONG], 1)

    def test_classification(self):
        classes = ["animal", "human", "human group"]
        for prediction, answer, expected in [
                ("It is human", "human", 1), ("animal or human", "human", 0.5), ("human group", "human group", 1),
                ("human group", "human", 0.5), ("none", "human", 0)]:
            self.assertEqual(self.score("trec", prediction, [answer], classes), expected, prediction)
        # The name behind one that was removed is passed over.
        self.assertEqual(self.score("lsht", "a ab abc", ["abc"], ["a", "ab", "abc"]), 0.5)

    def test_numbers(self):
        self.assertEqual(self.score("passage_retrieval_en", "12 or 13, no 12", ["Paragraph 12"]), 2 / 3)
        self.assertEqual(self.score("passage_retrieval_zh", "段落3", ["段落3"]), 1)
        self.assertEqual(self.score("passage_count", "none", ["12"]), 0)
        self.assertEqual(self.score("passage_count", "12.", ["12"]), 1)

    def test_code(self):
        """The first line without a mark counts."""
        self.assertEqual(self.score("lcc", "```python\n# next\nreturn x\nreturn y", ["return x"]), 1)
        self.assertEqual(self.score("lcc", "# only", ["return x"]), 0)
        self.assertEqual(self.score("repobench-p", "abcd", ["bcde"]), 0.75)

    def test_every_task_has_a_group(self):
        self.assertEqual(len(longbench.TASKS), 21)
        self.assertEqual(len({task.group for task in longbench.TASKS.values()}), 6)


class InfiniteBench(unittest.TestCase):
    def check(self, task, right, cases):
        for prediction, expected in cases:
            line = dict(prediction=prediction, ground_truth=right)
            self.assertAlmostEqual(infinitebench.score(task, line, {}), expected, msg=f"{task}: {prediction}")

    def test_retrieval(self):
        self.check("passkey", ["71432"], [(" is 71432. 5", 1), ("714325", 0)])
        self.check("number_string", "11", [("no", 0), ("11", 1)])
        self.check("kv_retrieval", ["54b1-c7"], [("{\"k\":\"54b1-c7\"}", 1), ("54b1-c7x", 0)])
        self.check("longdialogue_qa_eng", ["ANNA"], [("It's anna.", 1), ("hannah", 0)])

    def test_books(self):
        self.check("longbook_qa_eng", ["red dog", "cat"], [("the Cat", 1)])
        self.check("longbook_qa_chn", ["红楼梦"], [("红楼", 0.8)])
        # Lines are sentences: c d and a of four words each.
        self.check("longbook_sum_eng", ["a b\nc d"], [("c d\na x", 0.75)])

    def test_choice(self):
        self.check("longbook_choice_eng", ["the dog", "B"], [
            ("B", 1), ("C", 0), ("B. the dog", 1), ("Because", 1), ("the dog", 1), ("the answer is: B", 1),
            ("the answer is: the dog", 1), ("the answer is", 0), ("my option is C", 0), ("so, it is B!", 1),
            ("it is AB or B", 0), ("none", 0), ("", 0), ("answer:B", 0)])

    def test_debugging(self):
        self.check("code_debug", ["f_two", "B"], [
            ("B. f", 1), ("B: f", 1), ("B", 0), ("The answer is: B", 1), ("the answer is: Option B", 1),
            ("correct option is: f_two", 1), ("which is: C", 0), ("answer:", 0), ("it - is:  B", 1), ("", 0)])

    def test_numbers(self):
        for right in (-13, [-13], ["-13"]):
            self.check("code_run", right, [("value: -13.", 1), ("-13 x", 0), ("", 0)])
        self.check("math_find", 3, [("is 3, not 4", 1), ("3.0", 0), ("none", 0)])
        self.check("math_find", 3.5, [("3.5", 1)])
        self.check("math_find", 4.0, [("4", 1)])
        self.check("math_calc", [[1, 4, 8, 9]], [("[1, 4, 7, 9]", 0.5), ("1 -4 8 9 10", 1), ("9" * 5000, 0)])

    def test_other_names(self):
        self.assertEqual(infinitebench.score("code_run", dict(pred="so: -7", label=-7), {}), 1)


class Intervals(unittest.TestCase):
    def test_wilson(self):
        """Four of four, as R's prop.test without correction; nothing is certain after four samples."""
        low, high = score.wilson(4, 4)
        self.assertAlmostEqual(low, 0.5101092)
        self.assertEqual(high, 1)
        low, high = score.wilson(3, 10)
        self.assertAlmostEqual(low, 0.1077913)
        self.assertAlmostEqual(high, 0.6032219)
        self.assertEqual(score.wilson(0, 4)[0], 0)

    def test_bootstrap(self):
        self.assertEqual(score.bootstrap([2, 2, 2]), (2, 2))
        low, high = score.bootstrap([0, 0.5, 1] * 30)
        # The mean's standard error is 0.043.
        self.assertAlmostEqual(low, 0.5 - 1.96 * 0.043, delta=0.02)
        self.assertAlmostEqual(high, 0.5 + 1.96 * 0.043, delta=0.02)


class Files(unittest.TestCase):
    def run_score(self, *arguments):
        output, error = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "argv", ["score", *arguments]), contextlib.redirect_stdout(output), \
                contextlib.redirect_stderr(error):
            try:
                status = score.main()
            except SystemExit as exit_:
                status = exit_.code
        return status, output.getvalue(), error.getvalue()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name) / "other"
        self.folder.mkdir()

    def write(self, name, *lines):
        path = self.folder / name
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return str(path)

    def test_result(self):
        path = self.write("hotpotqa_e.jsonl", dict(pred="Paris", answers=["paris"], all_classes=None, length=10), "",
                          dict(pred="London", answers=["paris"], all_classes=None, length=5000))
        status, output, error = self.run_score("longbench", path, "--json")
        self.assertEqual((status, error), (0, ""))
        found = json.loads(output)
        self.assertEqual([row["measures"]["score"]["value"] for row in found["rows"]], [50, 100, 0, 50])
        self.assertEqual([row["labels"].get("length") for row in found["rows"]], [None, "0-4k", "4-8k", None])
        self.assertEqual(found["rows"][0]["labels"]["source"], "other")
        self.assertEqual(found["columns"], ["task", "length", "source", "score"])
        self.assertIn("average, multi-document QA", self.run_score("longbench", path)[1])

    def test_interval_of_a_proportion(self):
        path = self.write("preds_passkey.jsonl", *[dict(prediction="7", ground_truth="7")] * 4)
        status, output, _ = self.run_score("infinitebench", path)
        self.assertEqual(status, 0)
        self.assertIn("100.00 [51.01, 100.00]", output)

    def test_refusals(self):
        answered = dict(pred="x", answers=["b"], all_classes=None)
        for arguments, status, message in [
                (["longbench", self.write("trec.jsonl", answered)], 65, "trec.jsonl: line 1, all_classes: has none"),
                (["longbench", self.write("lcc.jsonl", dict(pred="x"))], 65, "lcc.jsonl: line 1, answers: is missing"),
                (["longbench", self.write("qmsum.jsonl", "{")], 65, "qmsum.jsonl: is not lines of JSON"),
                (["longbench", self.write("other.jsonl", answered)], 65, "other.jsonl: other is no task of longbench"),
                (["longbench", self.write("musique.jsonl", dict(pred=3, answers=["b"]))], 65,
                 "musique.jsonl: line 1: has a field of another type"),
                (["infinitebench", self.write("math_find.jsonl", dict(pred="3", label="many"))], 65,
                 "math_find.jsonl: line 1, ground_truth: is no number"),
                (["infinitebench", self.write("code_debug.jsonl", dict(pred="B", label="f_two"))], 65,
                 "code_debug.jsonl: line 1, ground_truth: is no option with its letter"),
                (["infinitebench", "none/preds_passkey.jsonl"], 66, "none/preds_passkey.jsonl: "),
                (["ruler", "x"], 64, "argument suite"), (["longbench"], 64, "the following arguments are required")]:
            found, output, error = self.run_score(*arguments)
            self.assertEqual((found, output), (status, ""), arguments)
            self.assertIn(message, error)


if __name__ == "__main__":
    unittest.main()
