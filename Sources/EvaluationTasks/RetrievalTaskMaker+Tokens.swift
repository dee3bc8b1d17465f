import SeededRandom
import Tokenization

/// A statement as tokens, and the ranges of them that are the answer.
struct EncodedStatement {
  var tokens: [Int32]
  var answerRanges: [Range<Int>]
}

extension Range<Int> {
  func shifted(by offset: Int) -> Range<Int> { lowerBound + offset..<upperBound + offset }
}

extension RetrievalTaskMaker {
  /// Encodes a statement within the line or, half of the time in the trainer's style, on a line of its own.
  func encode(_ fact: HiddenFact, _ random: inout SplitMix64) -> EncodedStatement {
    let ownLine = style == .trainer && random.next(below: 2) == 0
    let feed = ownLine ? tokenizer.encodeContinuation("\n") : []
    func tokens(_ text: some StringProtocol) -> [Int32] {
      tokenizer.encodeContinuation((ownLine ? "" : " ") + text)
    }
    var answerRanges: [Range<Int>] = []
    var rest = fact.statement[...]
    if let mark = rest.firstRange(of: fact.mark) { rest = rest[mark.upperBound...] }
    while let found = rest.firstRange(of: fact.answer) {
      var before = fact.statement[..<found.lowerBound]
      while before.last == " " { before.removeLast() }
      let start = feed.count + (before.isEmpty ? 0 : tokens(before).count)
      answerRanges.append(start..<max(start + 1, feed.count + tokens(fact.statement[..<found.upperBound]).count))
      rest = fact.mark.isEmpty ? rest[found.upperBound...] : ""
    }
    return EncodedStatement(tokens: feed + tokens(fact.statement) + feed, answerRanges: answerRanges)
  }

  /// The text with statements put in at given offsets.
  /// - Returns: the context, and where each statement starts.
  func insert(_ statements: [EncodedStatement], at offsets: [Int], in text: [Int32]) -> ([Int32], [Int]) {
    var context: [Int32] = []
    var starts = [Int](repeating: 0, count: statements.count)
    var done = 0
    for index in statements.indices.sorted(by: { (offsets[$0], $0) < (offsets[$1], $1) }) {
      context += text[done..<offsets[index]]
      done = offsets[index]
      starts[index] = context.count
      context += statements[index].tokens
    }
    return (context + text[done...], starts)
  }

  /// The nearest end of a sentence at or before a position, if it is near; the end of the text stays.
  func sentenceEnd(_ text: [Int32], _ position: Int) -> Int {
    guard position < text.count else { return position }
    var candidate = position
    while candidate > max(position - 48, 0) {
      if let last = tokenizer.piece(text[candidate - 1])?.last, [0x0A, 0x2E, 0x3F, 0x21].contains(last) {
        return candidate
      }
      candidate -= 1
    }
    return position
  }

  /// Questions one after another, each with the right answers of those before it.
  func turns(_ facts: [HiddenFact], answerRanges: [[Range<Int>]]) -> [RetrievalSample.Turn] {
    var turns: [RetrievalSample.Turn] = []
    for (fact, answerRanges) in zip(facts, answerRanges) {
      turns.append(
        turn(
          "\(fact.question) \(fact.lead)", after: turns.last, answer: tokenizer.encodeContinuation(" " + fact.answer),
          rule: fact.answerRule, answerRanges: answerRanges))
    }
    return turns
  }

  func turn(
    _ text: String, after last: RetrievalSample.Turn?, cue: [Int32] = [], answer: [Int32], rule: AnswerRule,
    answerRanges: [Range<Int>]
  ) -> RetrievalSample.Turn {
    let line = tokenizer.encodeContinuation(text) + cue
    let between = (last?.answer ?? []) + tokenizer.encodeContinuation(last == nil ? "\n" : ".\n")
    return RetrievalSample.Turn(
      prompt: last.map { $0.prompt + between + line }
        ?? tokenizer.encode(text, addingBeginOfText: tokenizer.beginOfTextToken != nil) + cue,
      continuation: (last?.continuation ?? []) + between + line, answer: answer, rule: rule, answerRanges: answerRanges)
  }
}
