import SeededRandom
public import Tokenization

/// Makes samples of retrieval tasks. A sample is a function of the seed and the arguments.
///
/// Statements follow ends of sentences, as in `Tools/train/tasks.py`; a running text is the begin-of-text token, a
/// question and the words that the answer follows.
public struct RetrievalTaskMaker: Sendable {
  let tokenizer: Tokenizer
  let haystack: Haystack
  /// Tokens of a chunk.
  let chunkSize: Int
  let style: TaskStyle
  let seed: UInt64

  public init(tokenizer: Tokenizer, haystack: Haystack, chunkSize: Int, style: TaskStyle, seed: UInt64) {
    self.tokenizer = tokenizer
    self.haystack = haystack
    self.chunkSize = chunkSize
    self.style = style
    self.seed = seed
  }

  /// - Parameters:
  ///   - length: tokens of the context.
  ///   - depth: share of the context before what is hidden, for tasks that have a depth; in the trainer's style give or
  ///     take half a chunk.
  ///   - number: the sample's, among those of the same kind.
  /// - Throws: `SampleFault` when the context is too short for the task.
  public func sample(
    _ task: RetrievalTask, length: Int, depth: Double?, number: Int
  ) throws(SampleFault) -> RetrievalSample {
    var random = SplitMix64(seed: seed, name: "\(task.rawValue)/\(length)/\(depth ?? -1)/\(number)")
    switch task {
    case .passkey:
      return try hiding([passkey(&random)], asking: [0], length: length, depth: depth, &random)
    case .needle:
      let fact = style == .published ? .publishedNeedle : facts(1, &random)[0]
      return try hiding([fact], asking: [0], length: length, depth: depth, &random)
    case .multiNeedle:
      if style == .published {
        return try hiding(HiddenFact.publishedNeedles, asking: [0], length: length, depth: nil, &random)
      }
      let count = 2 + random.next(below: 5)
      return try hiding(
        facts(count, &random), asking: [random.next(below: count)], length: length, depth: nil, &random)
    case .keyValue:
      return try style == .published ? pairs(length: length, &random) : table(length: length, &random)
    case .repeatContext: return try repetition(length: length, &random)
    case .secondQuestion: return try secondQuestion(length: length, &random)
    case .repeatedContext:
      let chunk = min(chunkSize, length)
      var sample = try hiding(facts(1, &random), asking: [0], length: chunk, depth: nil, &random)
      let unit = sample.context
      sample.context = (0..<length).map { unit[$0 % chunk] }
      for turn in sample.turns.indices {
        sample.turns[turn].answerRanges = stride(from: 0, to: length, by: chunk).flatMap { start in
          sample.turns[turn].answerRanges.map { $0.shifted(by: start) }
        }.filter { $0.upperBound <= length }
      }
      return sample
    case .boundary: return try boundary(length: length, &random)
    }
  }

  // What is hidden.

  private func passkey(_ random: inout SplitMix64) -> HiddenFact {
    if style == .published {
      return HiddenFact.passkeys[0].filled(["value": String(1 + random.next(below: 50000))])
    }
    return HiddenFact.passkeys[random.next(below: HiddenFact.passkeys.count)].filled(["value": number(&random)])
  }

  /// Facts of one form that share no key and no name.
  private func facts(_ count: Int, _ random: inout SplitMix64) -> [HiddenFact] {
    let template = HiddenFact.templates[random.next(below: HiddenFact.templates.count)]
    var used: Set<String> = []
    var facts: [HiddenFact] = []
    while facts.count < count {
      let key = "\(pick(TaskWords.adjectives, &random)) \(pick(TaskWords.nouns, &random))"
      let name = pick(TaskWords.names, &random)
      let values = [
        "key": key, "name": name, "word": pick(TaskWords.nouns, &random), "value": number(&random),
      ]
      let fact = template.filled(values)
      guard !used.contains(key), !used.contains(name), fact.statement.ranges(of: fact.answer).count == 1 else {
        continue
      }
      used.formUnion([key, name])
      facts.append(fact)
    }
    return facts
  }

  private func pick(_ words: [String], _ random: inout SplitMix64) -> String { words[random.next(below: words.count)] }

  /// Three to seven digits, most often five; no zero in front.
  private func number(_ random: inout SplitMix64) -> String {
    let digits = [3, 4, 5, 5, 5, 6, 7][random.next(below: 7)]
    return String(1 + random.next(below: 9))
      + (1..<digits).map { _ in String(random.next(below: 10)) }.joined()
  }

  // Samples.

  private func hiding(
    _ facts: [HiddenFact], asking: [Int], length: Int, depth: Double?, _ random: inout SplitMix64
  ) throws(SampleFault) -> RetrievalSample {
    let statements = facts.map { encode($0, &random) }
    let space = length - statements.reduce(0) { $0 + $1.tokens.count }
    guard space >= 0 else { throw tooShort(length) }
    let text = haystack.stretch(space, &random)
    let depths = facts.map { _ in depth.map { position($0, space: space, &random) } ?? random.next(below: space + 1) }
    let (context, starts) = insert(statements, at: depths.map { sentenceEnd(text, $0) }, in: text)
    return RetrievalSample(
      context: context,
      turns: turns(
        asking.map { facts[$0] },
        answerRanges: asking.map { index in statements[index].answerRanges.map { $0.shifted(by: starts[index]) } }))
  }

  /// The position at a depth. In the trainer's style it is drawn within a chunk's length around that depth: contexts
  /// are whole chunks long, so one depth would always be the same position in a chunk, which a fixed search would
  /// either always find or always miss.
  private func position(_ depth: Double, space: Int, _ random: inout SplitMix64) -> Int {
    let position = Int(Double(space) * depth)
    guard style == .trainer else { return position }
    let reach = min(chunkSize, space)
    return min(max(position - reach / 2, 0), space - reach) + random.next(below: reach + 1)
  }

  private func secondQuestion(length: Int, _ random: inout SplitMix64) throws(SampleFault) -> RetrievalSample {
    let facts = facts(2, &random)
    let statements = facts.map { encode($0, &random) }
    let space = length - statements.reduce(0) { $0 + $1.tokens.count }
    guard space >= 0 else { throw tooShort(length) }
    let text = haystack.stretch(space, &random)
    // One in each half, so that they are in different chunks where there are several; either may be asked for first.
    let halves = [random.next(below: space / 2 + 1), space - random.next(below: space / 2 + 1)]
    let order = random.next(below: 2) == 0 ? [0, 1] : [1, 0]
    let (context, starts) = insert(statements, at: order.map { sentenceEnd(text, halves[$0]) }, in: text)
    return RetrievalSample(
      context: context,
      turns: turns(
        facts, answerRanges: facts.indices.map { i in statements[i].answerRanges.map { $0.shifted(by: starts[i]) } }))
  }

  private func boundary(length: Int, _ random: inout SplitMix64) throws(SampleFault) -> RetrievalSample {
    let facts = facts(1, &random)
    let statement = encode(facts[0], &random)
    let space = length - statement.tokens.count
    let boundaryCount = (length - 1) / chunkSize
    guard space >= 0, boundaryCount > 0, let answer = statement.answerRanges.first else { throw tooShort(length) }
    // Where whole chunks end; those that end with sentences are cut elsewhere.
    let boundary = chunkSize * (1 + random.next(below: boundaryCount))
    let start = min(max(boundary - answer.lowerBound - (answer.count + 1) / 2, 0), space)
    let text = haystack.stretch(space, &random)
    let (context, starts) = insert([statement], at: [start], in: text)
    return RetrievalSample(
      context: context, turns: turns(facts, answerRanges: [statement.answerRanges.map { $0.shifted(by: starts[0]) }]))
  }

  private func repetition(length: Int, _ random: inout SplitMix64) throws(SampleFault) -> RetrievalSample {
    let (cue, count) = (8 + random.next(below: 17), 8 + random.next(below: 17))
    guard cue + count <= length else { throw tooShort(length) }
    let text = haystack.stretch(length, &random)
    let start = random.next(below: length - cue - count + 1)
    let lead = ["The text says:", "Repeat the passage:", "It was written:"][random.next(below: 3)]
    let answer = start + cue..<start + cue + count
    return RetrievalSample(
      context: text,
      turns: [
        turn(
          lead, after: nil, cue: Array(text[start..<start + cue]), answer: Array(text[answer]), rule: .tokens,
          answerRanges: [answer])
      ])
  }

  /// A small table within text.
  private func table(length: Int, _ random: inout SplitMix64) throws(SampleFault) -> RetrievalSample {
    var keys: Set<String> = []
    let count = 4 + random.next(below: 1 + min(20, length / 64))
    while keys.count < count { keys.insert("\(pick(TaskWords.adjectives, &random))-\(pick(TaskWords.nouns, &random))") }
    var pairs = keys.sorted().map { ($0, String(1000 + random.next(below: 99000))) }
    pairs.shuffle(using: &random)
    let (key, value) = pairs[random.next(below: count)]
    var fact = keyValueFact(key, value)
    fact.statement = "{" + pairs.map { "\"\($0)\": \"\($1)\"" }.joined(separator: ", ") + "}"
    fact.mark = "\"\(key)\": \""
    return try hiding([fact], asking: [0], length: length, depth: nil, &random)
  }

  /// Pairs of identifiers alone, as many as fit.
  private func pairs(length: Int, _ random: inout SplitMix64) throws(SampleFault) -> RetrievalSample {
    var context = tokenizer.encode("{", addingBeginOfText: false)
    var found: [(key: String, value: String, answerRange: Range<Int>)] = []
    let end = tokenizer.encodeContinuation("}")
    while true {
      let (key, value) = (TaskWords.identifier(&random), TaskWords.identifier(&random))
      let before = tokenizer.encodeContinuation((found.isEmpty ? "\"" : ", \"") + key + "\": \"")
      let tokens = before + tokenizer.encodeContinuation(value) + tokenizer.encodeContinuation("\"")
      guard context.count + tokens.count + end.count <= length else { break }
      found.append((key, value, context.count + before.count..<context.count + tokens.count - 1))
      context += tokens
    }
    guard !found.isEmpty else { throw tooShort(length) }
    let asked = found[random.next(below: found.count)]
    var fact = keyValueFact(asked.key, asked.value)
    fact.rule = .words([asked.value])
    return RetrievalSample(context: context + end, turns: turns([fact], answerRanges: [[asked.answerRange]]))
  }

  private func keyValueFact(_ key: String, _ value: String) -> HiddenFact {
    HiddenFact(
      statement: "", question: "What is the value of \"\(key)\"?", lead: "The value of \"\(key)\" is", answer: value)
  }

  private func tooShort(_ length: Int) -> SampleFault {
    SampleFault("context", "\(length) tokens are too few for the task")
  }
}
