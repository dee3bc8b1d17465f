"""Synthetic retrieval tasks over real text.

Every sample has a context, n chunks of one real document with something hidden in it, and a running text: begin of
text, some real text or none, a question and its answer. The tree is searched with the question, never with the answer.
All draws come from a seed, so a sample is a function of (seed, step, rank, index in the batch).
"""
import dataclasses
import os
import random

import bpe
import pretrained

# One search finds what one question asks for. Without guidance, the other answers of these kinds would teach the model
# to guess, and a model that guesses repeats its first answer.
ASKED_MORE_THAN_ONCE = ("fact-a-chunk", "second-query")
# A question can also be asked in a chat template. The words of an answer before what was asked for follow from the
# question, and teach less.
LEAD_WEIGHT = 0.2
KINDS = ("passkey", "needle", "key-value", "multi-key", "second-query", "repeat-after", "fact-a-chunk", "copy")

ADJECTIVES = """amber ancient bitter blue bold brave bright broken calm clever cold crimson curious dark distant eager
early empty faint fierce final gentle golden grand green grey happy heavy hidden hollow honest humble icy idle kind
late lazy light little lonely long loud lucky mellow merry mild narrow noble old pale patient plain proud quick quiet
rapid rare red rich rough round royal rusty sharp short silent silver simple slow small smooth soft solid sour steep
stern still strange strong sudden sweet swift tall tame tender thick thin tiny vast warm weary white wide wild wise
yellow young""".split()
NOUNS = """anchor apple arrow badge banner barrel basket beacon bell bird blade boat book bottle branch bridge bucket
button cabin camel candle canyon castle cat chain chair cherry church circle clock cloud coat coin compass copper
cottage cradle crown desert diamond doctor dragon drum eagle engine falcon farmer feather field finger fire flag
flower forest fountain fox garden gate ghost giant glass glove grain guitar hammer harbor harvest hat hawk hill horse
island jacket jewel journey kettle key king kitchen ladder lake lamp lantern leaf letter lion lizard market meadow
mirror monkey moon mountain needle nest ocean orange orchard owl painter palace paper pearl pencil piano pigeon pilot
planet pocket poet pony prince queen rabbit raven ribbon ring river robin rocket roof rope rose sailor salmon school
shadow sheep ship shoe shovel singer soldier spider spoon spring star statue stone storm stove street sword table
teacher temple tiger tower train tree trumpet tunnel turtle valley vessel village violin wagon wall watch water
whale wheel window winter wolf wood""".split()
NAMES = """Abigail Adam Agnes Albert Alice Amos Andrew Anna Arthur Barbara Bernard Caleb Carl Cecil Charlotte Clara
Daniel David Dinah Dorothy Edgar Edith Edmund Eliza Ellen Emma Ernest Esther Eugene Fanny Felix Flora Francis Frank
George Grace Hannah Harold Harriet Helen Henry Hugh Ida Isaac Jacob James Jane Joseph Julia Kate Laura Leonard Louis
Lucy Mabel Margaret Martha Martin Mary Matthew Maud Miriam Nathan Nora Oliver Oscar Patrick Paul Peter Philip Rachel
Ralph Rebecca Robert Rose Ruth Samuel Sarah Silas Simon Sophia Stephen Susan Thomas Victor Walter William""".split()

# What is hidden, the question and the text that the answer follows.
FACTS = (
    ("The special magic number for {key} is: {value}.", "What is the special magic number for {key}?",
     "The special magic number for {key} is:"),
    ("The number of {key} is {value}.", "What is the number of {key}?", "The number of {key} is"),
    ("Remember that {key} has the number {value}.", "Which number has {key}?", "{key} has the number"),
    ("{name} keeps the {key} under the number {value}.", "Under which number is the {key} kept?",
     "The {key} is kept under the number"),
    ("The secret word of {name} is {word}.", "What is the secret word of {name}?", "The secret word of {name} is"),
    ("{name} left the {key} with the {word}.", "With what did {name} leave the {key}?",
     "{name} left the {key} with the"),
)
PASSKEYS = (
    ("The pass key is {value}. Remember it. {value} is the pass key.", "What is the pass key?", "The pass key is"),
    ("The pass key is {value}. Remember it.", "What is the pass key?", "The pass key is"),
)


@dataclasses.dataclass
class Sample:
    kind: str
    context: list
    running: list
    """Tokens of the running text with the answer."""
    query_last: int
    """Index of the question's last token."""
    answers: list
    """Ranges of answers in the running text."""
    targets: list
    """Indices in the context of what is asked for: its first token, and the first token of every further chunk into
    which it continues."""
    text_end: int
    """End of the real text that the running text starts with."""
    guides: list = dataclasses.field(default_factory=list)
    """Indices in the context of everything that is asked for: a guided search finds them all, another cannot."""
    leads: list = dataclasses.field(default_factory=list)
    """Ranges in the running text that lead to the answers of a chat."""


def maker_of(run, section, chunk_size, part):
    """The maker of a stage's samples, or of those of the evaluation."""
    tokenizer, fraction = bpe.read(run.tokenizer), section.get("chat", 0.0)
    if fraction and not isinstance(tokenizer, pretrained.Tokenizer):
        raise SystemExit(f"{run.path}: chat needs a tokenizer.json with a chat template beside it")
    chat = pretrained.Chat(os.path.dirname(run.tokenizer)) if fraction else None
    return Maker(tokenizer, run.corpus_of(part, stage=section), chunk_size, section["window"],
                 section.get("kinds", {}), section.get("text_fraction", 0.5), chat, fraction)


class Maker:
    """Makes samples.

    - corpus: the source of real text. chunk_size: L. running: T, tokens of the running text.
    - kinds: weights of the kinds; `text` is plain language modelling.
    - chat: a chat template, and chat_fraction the share of questions that are asked in it.
    """

    def __init__(self, tokenizer, corpus, chunk_size, running, kinds, text_fraction=0.5, chat=None, chat_fraction=0.0):
        self.tokenizer, self.corpus, self.chunk_size, self.running = tokenizer, corpus, chunk_size, running
        self.kinds, self.text_fraction = kinds, text_fraction
        self.chat, self.chat_fraction = chat, chat_fraction
        self.begin = [] if tokenizer.bos is None else [tokenizer.bos]

    def sample(self, seed, chunk_count, kind=None):
        rng = random.Random(seed)
        kind = kind or rng.choices(list(self.kinds), list(self.kinds.values()))[0]
        length = chunk_count * self.chunk_size
        text = self.corpus.window(length + self.running, rng)
        if kind == "text":
            running = self.begin + text[length:length + self.running - 1]
            return Sample(kind, text[:length], running, len(running) - 1, [], [], len(running))
        if kind == "repeat-after":
            return self.repeat_after(rng, text, length)
        if kind == "copy":
            return self.copy(rng, text, length)
        return self.facts(kind, rng, text, length)

    # What can be found.

    def key(self, rng):
        return f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"

    def fact(self, rng, template, used):
        """A statement, its question, the words before the answer, and the answer; no key is used twice."""
        while True:
            values = dict(key=self.key(rng), name=rng.choice(NAMES), word=rng.choice(NOUNS),
                          value=str(rng.randrange(10 ** (digits := rng.choice((3, 4, 5, 5, 5, 6, 7))) // 10,
                                                  10 ** digits)))
            identity = values["key"], values["name"]
            if not used & set(identity):
                used |= set(identity)
                break
        statement, question, lead = (part.format(**values) for part in template)
        return statement, question, lead, values["value" if "{value}" in template[0] else "word"]

    def table(self, rng, pair_count):
        """Pairs of a key and a value, as text that reads like JSON, and one of them to ask for."""
        keys = set()
        while len(keys) < pair_count:
            keys.add(f"{rng.choice(ADJECTIVES)}-{rng.choice(NOUNS)}")
        pairs = [(key, str(rng.randrange(1000, 100000))) for key in sorted(keys)]
        rng.shuffle(pairs)
        key, value = rng.choice(pairs)
        text = "{" + ", ".join(f'"{k}": "{v}"' for k, v in pairs) + "}"
        before = text[:text.index(f'"{key}": ')] + f'"{key}": "'
        return text, before, f'What is the value of "{key}"?', f'The value of "{key}" is', value

    def facts(self, kind, rng, text, length):
        used, turns = set(), []
        hidden = []  # Statements, where the value starts in them, and the value.
        if kind == "key-value":
            statement, before, question, lead, value = self.table(rng, rng.randint(4, 4 + min(20, length // 32)))
            hidden.append((statement, len(before), value))
            turns.append((question, lead, value, 0))
        else:
            count = {"passkey": 1, "needle": 1, "multi-key": rng.randint(2, 6), "second-query": rng.randint(2, 4),
                     "fact-a-chunk": length // self.chunk_size}[kind]
            template = rng.choice(PASSKEYS if kind == "passkey" else FACTS)
            for i in range(count):
                statement, question, lead, value = self.fact(rng, template, used)
                start = statement.rindex(value) if kind != "passkey" else statement.index(value)
                hidden.append((statement, start, value))
                turns.append((question, lead, value, i))
            asked = rng.sample(range(count), {"second-query": 2, "fact-a-chunk": count}.get(kind, 1))
            turns = [turns[i] for i in asked]
        context, places = self.hide(rng, text, length, hidden, spread=kind in ASKED_MORE_THAN_ONCE)
        chats = self.chat is not None and rng.random() < self.chat_fraction
        after_text = not chats and rng.random() < self.text_fraction
        running, leads, answers, ends = self.converse(turns) if chats else self.ask(rng, kind, turns, after_text)
        turns = turns[:len(answers)]
        # Half of the time, trees that were searched for the first question must also answer the second.
        stale = kind == "second-query" and rng.random() < 0.5
        asked = turns[0 if stale else -1][3]
        guides = [places[turn[3]][0] for turn in turns] if kind in ASKED_MORE_THAN_ONCE else []
        return self.finish(rng, kind, text[length:] if after_text else [], context, running, ends[0 if stale else -1],
                           answers, places[asked], guides, leads, begins=not chats)

    def ask(self, rng, kind, turns, after_text):
        """Questions with their answers, one a line. Returns tokens, no leads, the ranges of the answers, and where each
        question ends."""
        encode = self.tokenizer.encode
        running, answers, ends = [], [], []
        for number, (question, lead, value, _) in enumerate(turns):
            before = len(running)
            if running and running[-1] != self.tokenizer.byte_ids[10]:
                running.append(self.tokenizer.byte_ids[10])
            # A text starts with a space; a line within one does not.
            running += encode(f"{question} {lead}", prefix=not running and not after_text)
            ends.append(len(running) - 1)
            answer = encode(value) + encode(".\n", prefix=False)[:rng.randint(1, 2)]
            if kind == "fact-a-chunk" and number and len(running) + len(answer) > self.running - 3:
                # As many questions as fit.
                running = running[:before]
                ends.pop()
                break
            answers.append((len(running), len(running) + len(answer)))
            running += answer
        return running, [], answers, ends

    def converse(self, turns):
        """As many questions as fit in the chat template, each answered by a sentence and the token with which the
        assistant ends. Returns tokens, the ranges of what leads to the answers, those of the answers, and where the
        text before each answer ends: there the product searches, too."""
        encode = self.tokenizer.encode
        parts, rest = self.chat.parts([(question, f"{lead} {value}.") for question, lead, value, _ in turns])
        end = encode(rest, prefix=False, special=True)[:1]
        running, leads, answers, ends = [], [], [], []
        for (read, answered), (_, _, value, _) in zip(parts, turns, strict=True):
            opening = encode(read, prefix=False, special=True)
            answer = encode(answered, prefix=False)
            if answers and len(running) + len(opening) + len(answer) + len(end) > self.running - 1:
                break
            running += opening
            ends.append(len(running) - 1)
            start = len(running) + len(encode(answered[:answered.rindex(value)].rstrip(), prefix=False))
            leads.append((len(running), start))
            running += answer
            answers.append((start, len(running) + len(end)))
        return running + end, leads, answers, ends

    def hide(self, rng, text, length, hidden, spread=False):
        """Puts statements after ends of sentences, at random depths, within the line or on lines of their own. With
        `spread`, each has its own part of the text. Returns the context, and the `Sample.targets` of each value."""
        line_feed = self.tokenizer.byte_ids[10]
        encoded = []
        for statement, at, value in hidden:
            own_line = rng.random() < 0.5
            before, after = ([line_feed], [line_feed]) if own_line else ([], [])
            tokens = before + self.tokenizer.encode(statement, prefix=not own_line) + after
            start, end = (len(before) + len(self.tokenizer.encode(part, prefix=not own_line))
                          for part in (statement[:at].rstrip(), statement[:at + len(value)]))
            encoded.append((tokens, start, end - start))
        space = length - sum(len(tokens) for tokens, _, _ in encoded)
        if space < 0:
            raise ValueError("the context is too short for what is to be hidden")
        text = text[:space]
        bounds = [(space * i // len(encoded), space * (i + 1) // len(encoded)) if spread else (0, space)
                  for i in range(len(encoded))]
        depths = sorted((self.sentence_end(text, rng.randint(low, high), low), rng.random(), i)
                        for i, (low, high) in enumerate(bounds))
        context, places, at = [], [0] * len(encoded), 0
        for depth, _, i in depths:
            tokens, start, count = encoded[i]
            context += text[at:depth]
            at = depth
            places[i] = self.parts(len(context) + start, count)
            context += tokens
        return context + text[at:], places

    def parts(self, start, count):
        """Where tokens start, and where they continue in another chunk."""
        return [start, *range((start // self.chunk_size + 1) * self.chunk_size, start + count, self.chunk_size)]

    def sentence_end(self, text, depth, low):
        for i in range(depth, max(depth - 48, low), -1):
            if text[i - 1] in self.tokenizer.ends_sentence:
                return i
        return depth

    def repeat_after(self, rng, text, length):
        """The running text repeats the beginning of a passage of the context, and the answer is the rest of it."""
        cue, answer = rng.randint(8, 24), rng.randint(8, 24)
        start = rng.randint(0, length - cue - answer)
        passage = text[start:start + cue + answer]
        after_text = rng.random() < self.text_fraction
        lead = self.tokenizer.encode(
            rng.choice(("The text says:", "Repeat the passage:", "It was written:")), prefix=not after_text)
        running = lead + passage
        split = len(lead) + cue
        return self.finish(rng, "repeat-after", text[length:] if after_text else [], text[:length], running, split - 1,
                           [(split, len(running))], self.parts(start + cue, answer))

    def copy(self, rng, text, length):
        """The running text is a passage of the context, and all but its first few tokens are the answer. In three of
        four contexts no token can be predicted from those before it, so that only copying helps."""
        context = text[:length]
        if rng.random() < 0.75:
            rng.shuffle(context)
            if rng.random() < 0.5:
                # Answers are mostly numbers, which are rare in a text.
                context = [rng.choice(self.tokenizer.digits) if rng.random() < 0.5 else token for token in context]
        count, cue = min(self.running - 1, length), rng.randint(4, 8)
        start = rng.randint(0, length - count)
        running = context[start:start + count]
        targets = self.parts(start + cue, count - cue)
        return self.finish(rng, "copy", [], context, running, cue - 1, [(cue, count)], targets)

    def finish(self, rng, kind, text, context, running, query_last, answers, targets, guides=(), leads=(), begins=True):
        begin = self.begin if begins else []
        spare = self.running - len(begin) - len(running)
        if spare < 0:
            raise ValueError(f"the running text has {-spare} tokens too many")
        before = text[:rng.randint(0, max(spare - 1, 0))] + [self.tokenizer.byte_ids[10]] if text and spare else []
        shift = len(begin) + len(before)
        return Sample(kind, context, begin + before + running, query_last + shift,
                      [(a + shift, b + shift) for a, b in answers], targets, shift, [*guides] or targets,
                      [(a + shift, b + shift) for a, b in leads])


def collate(samples, running, chunk_size, text_weight, pad=0):
    """Lists to be made into tensors: context, running text, labels, weights, ends of queries, the target in each chunk,
    where a guided search goes in each chunk, and whether only a guided search finds all answers."""
    tokens, labels, weights, targets, guides = [], [], [], [], []
    for s in samples:
        fill = running - len(s.running)
        tokens.append(s.running + [pad] * fill)
        # Position i predicts token i + 1. The first real token is not scored, as there is nothing before it.
        weight = [0.0] * running
        for i in range(1, min(s.text_end, len(s.running)) - 1):
            weight[i] = 1.0 if s.kind == "text" else text_weight
        for ranges, of_token in ((s.leads, LEAD_WEIGHT), (s.answers, 1.0)):
            for start, end in ranges:
                weight[start - 1:end - 1] = [of_token] * (end - start)
        following = s.running[1:] + [pad] * (fill + 1)
        labels.append([t if w else -100 for t, w in zip(following, weight, strict=True)])
        weights.append(weight)
        count = len(s.context) // chunk_size
        targets.append(in_chunks(s.targets, count, chunk_size))
        guides.append(in_chunks(s.guides, count, chunk_size))
    return dict(context=[s.context for s in samples], tokens=tokens, labels=labels, weights=weights,
                query_last=[s.query_last for s in samples], targets=targets, guides=guides,
                needs_guidance=[s.kind in ASKED_MORE_THAN_ONCE for s in samples])


def in_chunks(places, count, chunk_size):
    """For every chunk, the first of the places that lie in it, -1 for none."""
    found = [-1] * count
    for place in reversed(places):
        found[place // chunk_size] = place % chunk_size
    return found
