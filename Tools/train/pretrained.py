"""What comes with a pretrained checkpoint: its `tokenizer.json` and its chat template.

The package `tokenizers` runs the tokenizer. Only those that work on bytes (GPT-2's, SmolLM2's) are taken, as the tasks
need single bytes. Jinja, on which torch itself depends, runs the template.
"""
import functools
import os

import files


def token_text(value):
    """The spelling of a special token, which `tokenizer_config.json` gives as a string or an object."""
    return value["content"] if isinstance(value, dict) else value


def read_tokenizer_config(directory):
    path = os.path.join(directory, "tokenizer_config.json")
    return files.read_json(path) if os.path.exists(path) else {}


def byte_characters():
    """The characters by which byte-level vocabularies write bytes: printable ones stand for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


class Tokenizer:
    """The same as `bpe.Tokenizer`, out of `tokenizer.json`."""

    def __init__(self, path):
        try:
            import tokenizers
        except ModuleNotFoundError:
            raise SystemExit(f"{path}: the package tokenizers is not installed (requirements.txt)") from None
        self.inner = tokenizers.Tokenizer.from_file(path)
        self.inner.no_truncation()
        self.inner.no_padding()
        vocabulary = self.inner.get_vocab(with_added_tokens=True)
        self.pieces = [""] * (max(vocabulary.values()) + 1)
        for piece, token in vocabulary.items():
            self.pieces[token] = piece
        if len(self.pieces) > 1 << 16:
            raise SystemExit(f"{path}: {len(self.pieces)} tokens do not fit the 16 bits in which texts are stored")
        self.byte_ids = {b: vocabulary[c] for b, c in byte_characters().items() if c in vocabulary}
        if 10 not in self.byte_ids:
            raise SystemExit(f"{path} has no pieces of single bytes: name the checkpoint's tokenizer.model instead")
        end = token_text(read_tokenizer_config(os.path.dirname(path)).get("eos_token"))
        if end not in vocabulary:
            raise SystemExit(f"{path}: tokenizer_config.json beside it names no eos_token of the vocabulary")
        self.eos = vocabulary[end]
        # What is put before every text: nothing, or begin-of-text.
        before = self.inner.encode("").ids
        self.bos = before[0] if before and before[0] != self.eos else None
        self.digits = [vocabulary[digit] for digit in "0123456789"]

    def __len__(self):
        return len(self.pieces)

    def encode(self, text, prefix=True, special=False):
        """Tokens of a text; with `prefix`, a space is put before it. special: special tokens that are spelt out in the
        text are these tokens, as in a chat template, and not their letters."""
        self.inner.encode_special_tokens = not special
        return self.inner.encode((" " if prefix and text else "") + text, add_special_tokens=False).ids

    def decode(self, tokens):
        return self.inner.decode(tokens, skip_special_tokens=True)

    @functools.cached_property
    def ends_sentence(self):
        """Tokens after which a sentence can end: those that end with a line feed, a full stop, ? or !."""
        marks = ".?!" + byte_characters()[10]
        return frozenset(i for i, piece in enumerate(self.pieces) if piece and piece[-1] in marks)


class Chat:
    """The chat template of a checkpoint's folder."""

    def __init__(self, directory):
        import jinja2.sandbox
        config = read_tokenizer_config(directory)
        self.directory, source = directory, config.get("chat_template")
        if isinstance(source, list):
            source = {entry["name"]: entry["template"] for entry in source}.get("default")
        path = os.path.join(directory, "chat_template.jinja")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                source = file.read()
        if not source:
            raise SystemExit(f"{directory} has no chat template: leave out the config's lines `chat`")

        def refuse(message):
            raise ValueError(f"{directory}: the chat template says: {message}")

        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = refuse
        self.special = {name: token_text(value) for name, value in config.items()
                        if name.endswith("_token") and value and not isinstance(value, bool)}
        self.template = environment.from_string(source)

    def text(self, messages, to_be_continued):
        return self.template.render(messages=messages, add_generation_prompt=to_be_continued, **self.special)

    def parts(self, turns):
        """A conversation as (what is read, what is to be answered) for every turn, and what follows the last answer.

        turns: questions and answers. Before an answer stands what `sharedpack ask` makes of the question; whatever the
        template writes between this and the answer's first letter belongs to the answer.
        """
        messages, result, at = [], [], 0
        for question, answer in turns:
            messages.append(dict(role="user", content=question))
            prompt = self.text(messages, True)
            messages.append(dict(role="assistant", content=answer))
            whole = self.text(messages, False)
            end = whole.find(answer, len(prompt)) + len(answer)
            if not whole.startswith(prompt) or end < len(prompt) + len(answer) or at > len(prompt):
                raise ValueError(f"{self.directory}: the chat template does not write answers behind their questions")
            result.append((prompt[at:], whole[len(prompt):end]))
            at = end
        return result, whole[at:]
