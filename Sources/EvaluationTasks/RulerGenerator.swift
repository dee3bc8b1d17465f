import CanonicalJSON
import SeededRandom

/// Makes RULER's samples to a length in tokens. A sample is a function of the seed and the arguments.
public struct RulerGenerator {
  private let essay: [Substring]
  private let squad: QuestionSet?
  private let hotpot: QuestionSet?
  private let seed: UInt64
  private let tokenCount: (String) -> Int

  /// - Parameters:
  ///   - essay: the text that needles are hidden in; empty takes the published noise.
  ///   - tokenCount: counts the tokens of a prompt.
  public init(
    essay: String, squad: QuestionSet? = nil, hotpot: QuestionSet? = nil, seed: UInt64,
    tokenCount: @escaping (String) -> Int
  ) {
    let words = essay.split(whereSeparator: \.isWhitespace)
    self.essay = words.isEmpty ? TaskWords.noise.split(separator: " ") : words
    self.squad = squad
    self.hotpot = hotpot
    self.seed = seed
    self.tokenCount = tokenCount
  }

  /// Whether the data that a task needs was given.
  public func canMake(_ task: Ruler.Task) -> Bool {
    switch task {
    case .squad: squad != nil
    case .hotpot: hotpot != nil
    default: true
    }
  }

  /// How much of its haystack a task takes so that prompt and answer have at most `length` tokens: sentences of noise,
  /// words or documents.
  /// - Throws: `SampleFault` when the shortest prompt is longer.
  public func size(_ task: Ruler.Task, length: Int) throws(SampleFault) -> Int {
    func fits(_ size: Int) throws(SampleFault) -> Bool {
      tokenCount(try build(task, size: size, length: length, number: -1).prompt) + task.maxNewTokens <= length
    }
    var low = least(task)
    guard try fits(low) else { throw SampleFault(task.rawValue, "\(length) tokens are too few for the task") }
    var high = low * 2
    while high < 1 << 22, try fits(high) { (low, high) = (high, high * 2) }
    while high - low > max(low / 64, 1) {
      let middle = (low + high) / 2
      if try fits(middle) { low = middle } else { high = middle }
    }
    return low
  }

  /// - Parameters:
  ///   - size: of `size(_:length:)`; less is taken where this sample would be longer.
  ///   - number: the sample's.
  /// - Throws: `SampleFault`.
  public func sample(_ task: Ruler.Task, size: Int, length: Int, number: Int) throws(SampleFault) -> SuiteSample {
    var size = size
    var built = try build(task, size: size, length: length, number: number)
    while tokenCount(built.prompt) + task.maxNewTokens > length, size > least(task) {
      size = max(least(task), min(size - 1, size * 31 / 32))
      built = try build(task, size: size, length: length, number: number)
    }
    return SuiteSample(
      task: task.rawValue, prompt: built.prompt, maxNewTokens: task.maxNewTokens,
      record: AnswerRecord(
        path: "*/synthetic/\(length)/pred/\(task.rawValue).jsonl", key: "pred",
        [
          "index": .integer(number), "input": .string(built.prompt),
          "outputs": .array(built.answers.map(JSONValue.string)),
        ]),
      rule: task == .squad || task == .hotpot ? .anyWord(built.answers) : .words(built.answers))
  }

  private func least(_ task: Ruler.Task) -> Int {
    switch task {
    case .commonWords: 20
    case .frequentWords: 100
    case .variableTracking: 5
    case .squad, .hotpot: 1
    default: task.needles?.haystack == .essay ? 40 : 5
    }
  }

  private typealias Prompt = (prompt: String, answers: [String])

  private func build(_ task: Ruler.Task, size: Int, length: Int, number: Int) throws(SampleFault) -> Prompt {
    var random = SplitMix64(seed: seed, name: "\(task.rawValue)/\(length)/\(number)")
    if let needles = task.needles { return needlePrompt(needles, size, &random) }
    switch task {
    case .variableTracking: return variablePrompt(size, &random)
    case .commonWords: return commonWordsPrompt(size, isShort: length < 4096, &random)
    case .frequentWords: return frequentWordsPrompt(size, vocabularySize: max(length / 50, 8), &random)
    case .squad: return try questionPrompt(squad, size, number, &random)
    default: return try questionPrompt(hotpot, size, number, &random)
    }
  }

  // Needles.

  private func needlePrompt(
    _ configuration: Ruler.NeedleConfiguration, _ size: Int, _ random: inout SplitMix64
  ) -> Prompt {
    func draw(_ kind: Ruler.NeedleConfiguration.Kind) -> String {
      switch kind {
      case .numbers: String(1_000_000 + random.next(below: 9_000_000))
      case .identifiers: TaskWords.identifier(&random)
      case .words:
        TaskWords.adjectives[random.next(below: TaskWords.adjectives.count)] + "-"
          + TaskWords.nouns[random.next(below: TaskWords.nouns.count)]
      }
    }
    let kind = configuration.value == .numbers ? "numbers" : "uuids"
    func needle(_ key: String, _ value: String) -> String {
      "One of the special magic \(kind) for \(key) is: \(value)."
    }
    var keys: [String] = []
    while keys.count < configuration.keyCount {
      let key = draw(configuration.key)
      if !keys.contains(key) { keys.append(key) }
    }
    let values = keys.map { _ in (0..<configuration.valueCount).map { _ in draw(configuration.value) } }
    var needles = zip(keys, values).flatMap { key, values in values.map { needle(key, $0) } }
    needles.shuffle(using: &random)
    let context: String
    switch configuration.haystack {
    case .essay: context = essay(size, with: needles, &random)
    case .noise: context = scattered(needles, among: Array(repeating: TaskWords.noise, count: size), &random)
    case .needles:
      context = scattered(
        needles, among: (0..<size).map { _ in needle(draw(configuration.key), draw(configuration.value)) }, &random)
    }
    var order = Array(keys.indices)
    order.shuffle(using: &random)
    let asked = order.prefix(configuration.queryCount)
    let names = asked.map { keys[$0] }
    let query =
      names.count > 1 ? names.dropLast().joined(separator: ", ") + ", and " + names[names.count - 1] : names[0]
    return (
      """
      This text has special magic \(kind) in it. Remember them, for you will be asked for them.
      \(context)
      Which special magic \(kind) for \(query) are in the text? The special magic \(kind) for \(query) in the text are
      """, asked.flatMap { values[$0] }
    )
  }

  /// Words of the essay with needles between its sentences, at depths out of forty.
  private func essay(_ wordCount: Int, with needles: [String], _ random: inout SplitMix64) -> String {
    var sentences: [[Substring]] = [[]]
    for index in 0..<wordCount {
      let word = essay[index % essay.count]
      sentences[sentences.count - 1].append(word)
      if let last = word.last, ".?!".contains(last) { sentences.append([]) }
    }
    if sentences.last?.isEmpty == true { sentences.removeLast() }
    var depths = (0..<40).map { (Double($0) * 100 / 39).rounded() }
    depths.shuffle(using: &random)
    let indices = depths.prefix(needles.count).map { Int(Double(sentences.count) * $0 / 100) }.sorted()
    var parts: [String] = []
    var done = 0
    for (index, needle) in zip(indices, needles) {
      parts += sentences[done..<index].map { $0.joined(separator: " ") } + [needle]
      done = index
    }
    return (parts + sentences[done...].map { $0.joined(separator: " ") }).joined(separator: " ")
  }

  /// Inserts lines among others at random, in their order.
  private func scattered(_ lines: [String], among others: [String], _ random: inout SplitMix64) -> String {
    var indices = Array(0..<max(others.count, lines.count))
    indices.shuffle(using: &random)
    var result = others
    for (offset, (index, line)) in zip(indices.prefix(lines.count).sorted(), lines).enumerated() {
      result.insert(line, at: min(index + offset, result.count))
    }
    return result.joined(separator: "\n")
  }

  // Variables.

  private func variablePrompt(_ size: Int, _ random: inout SplitMix64) -> Prompt {
    let example = chain(size: 5, &random)
    let asked = chain(size: size, &random)
    return (
      example.prompt + example.answers.joined(separator: " ") + "\n\n" + asked.prompt, asked.answers
    )
  }

  /// A value that goes from variable to variable, four times.
  private func chain(size: Int, _ random: inout SplitMix64) -> Prompt {
    var names: [String] = []
    while names.count < 5 {
      let name = String((0..<5).map { _ in Character(Unicode.Scalar(UInt8(65 + random.next(below: 26)))) })
      if !names.contains(name) { names.append(name) }
    }
    let value = 10000 + random.next(below: 90000)
    let lines = ["VAR \(names[0]) = \(value)"] + zip(names, names.dropFirst()).map { "VAR \($1) = VAR \($0)" }
    let context = scattered(lines, among: Array(repeating: TaskWords.noise, count: size), &random)
    return (
      """
      Follow the variables that are assigned in this text.

      \(context)
      Question: Which variables have the value \(value)? Answer: The value \(value) is assigned to 5 variables, which are:\u{20}
      """, names
    )
  }

  // Words.

  private func commonWordsPrompt(_ size: Int, isShort: Bool, _ random: inout SplitMix64) -> Prompt {
    let example = isShort ? wordList(20, 3, 1, &random) : wordList(40, 10, 3, &random)
    let asked = isShort ? wordList(size, 6, 1, &random) : wordList(size, 30, 3, &random)
    let answer = example.answers.enumerated().map { "\($0 + 1). \($1)" }.joined(separator: " ")
    return (example.prompt + " " + answer + "\n" + asked.prompt, asked.answers)
  }

  /// Ten words that occur often among others that do not.
  private func wordList(_ count: Int, _ often: Int, _ seldom: Int, _ random: inout SplitMix64) -> Prompt {
    var words = Array(Set(TaskWords.nouns + TaskWords.adjectives).sorted())
    words.shuffle(using: &random)
    var used = Set(words)
    // Beyond the list, words are made of two.
    while words.count < count {
      let word =
        TaskWords.adjectives[random.next(below: TaskWords.adjectives.count)]
        + TaskWords.nouns[random.next(below: TaskWords.nouns.count)]
      // There are some sixteen thousand pairs; beyond them numbers tell words apart.
      let fresh = used.contains(word) ? word + String(words.count) : word
      used.insert(fresh)
      words.append(fresh)
    }
    var list =
      words[..<10].flatMap { Array(repeating: $0, count: often) }
      + words[10..<count].flatMap { Array(repeating: $0, count: seldom) }
    list.shuffle(using: &random)
    let context = list.enumerated().map { "\($0 + 1). \($1)" }.joined(separator: " ")
    return (
      """
      This is a numbered list of words. Some occur more often than others; remember those.
      \(context)
      Question: Which 10 words of the list occur most often? Answer: The 10 words that occur most often are:
      """, Array(words[..<10])
    )
  }

  /// Made-up words whose frequencies follow a zeta distribution with exponent 2; the most frequent are dots.
  private func frequentWordsPrompt(_ size: Int, vocabularySize: Int, _ random: inout SplitMix64) -> Prompt {
    var vocabulary: [String] = []
    var used: Set<String> = []
    while vocabulary.count < vocabularySize {
      let word = String((0..<6).map { _ in Character(Unicode.Scalar(UInt8(97 + random.next(below: 26)))) })
      if used.insert(word).inserted { vocabulary.append(word) }
    }
    vocabulary[0] = "..."
    let zeta = Double.pi * Double.pi / 6
    var words = vocabulary.enumerated().flatMap { rank, word in
      Array(repeating: word, count: Int(Double(size) / (Double((rank + 1) * (rank + 1)) * zeta)))
    }
    words.shuffle(using: &random)
    return (
      """
      Count the coded words of this text and find the three that occur most often. \(words.joined(separator: " "))
      Question: Which three coded words occur most often? The dots do not count. Answer: The three words that occur \
      most often are:
      """, Array(vocabulary[1...3])
    )
  }

  // Questions.

  private func questionPrompt(
    _ set: QuestionSet?, _ size: Int, _ number: Int, _ random: inout SplitMix64
  ) throws(SampleFault) -> Prompt {
    guard let set else { throw SampleFault("questions", "there are none") }
    let question = set.questions[max(number, 0) % set.questions.count]
    var indices = question.needed
    var near = question.near
    near.shuffle(using: &random)
    indices += near.prefix(max(size - indices.count, 0))
    var used = Set(indices)
    // Distractors beyond all documents of the set repeat them.
    while indices.count < size {
      let index = random.next(below: set.documents.count)
      if used.insert(index).inserted || used.count >= set.documents.count { indices.append(index) }
    }
    indices.shuffle(using: &random)
    let context = indices.enumerated().map { "Document \($0 + 1):\n\(set.documents[$1])" }.joined(separator: "\n\n")
    return (
      """
      Read these documents.

      \(context)

      Answer the question from the documents with a word or a phrase alone.

      Question: \(question.text) Answer:
      """, question.answers
    )
  }
}
