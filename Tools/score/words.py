"""What of a text is compared, and how much two lists of words have in common.

Source: P. Rajpurkar et al., SQuAD, arXiv 1606.05250, for English; the Chinese form is LongBench's, arXiv 2308.14508.
"""
import collections
import re
import string

CHINESE_MARKS = (
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏")
WITHOUT_ASCII_MARKS = str.maketrans("", "", string.punctuation)
WITHOUT_MARKS = str.maketrans("", "", string.punctuation + CHINESE_MARKS)
ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def english(text):
    """Words in lower case without punctuation and articles."""
    return ARTICLE.sub(" ", text.lower().translate(WITHOUT_ASCII_MARKS)).split()


def chinese(text):
    """Text in lower case without punctuation and spaces."""
    return "".join(text.lower().translate(WITHOUT_MARKS).split())


def f1(answer, right):
    """The harmonic mean of precision and recall; a word counts as often as both have it."""
    common = (collections.Counter(answer) & collections.Counter(right)).total()
    if not common:
        return 0.0
    precision, recall = common / len(answer), common / len(right)
    return 2 * precision * recall / (precision + recall)
