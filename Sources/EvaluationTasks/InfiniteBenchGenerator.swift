public import CanonicalJSON
import SeededRandom

/// Samples of InfiniteBench's synthetic tasks in the published form, made anew: of any size, for any seed.
///
/// Sizes of the published ones are in `publishedSize(_:)`. Texts are ours but for the noise and the hidden sentences.
/// Source: arXiv 2402.13718, section 3.
public struct InfiniteBenchGenerator: Sendable {
  /// The tasks that are made by a program.
  public static let tasks: [InfiniteBench.Task] = [
    .passkey, .numberString, .keyValue, .codeRun, .mathCalculation, .mathFind,
  ]

  /// Lines of noise, pairs, functions, terms or numbers of a published sample of about 128 thousand tokens.
  public static func publishedSize(_ task: InfiniteBench.Task) -> Int {
    switch task {
    case .passkey, .numberString: 5220
    case .keyValue: 2500
    case .codeRun: 550
    case .mathCalculation: 30000
    case .mathFind: 60000
    default: 0
    }
  }

  public let task: InfiniteBench.Task
  public let size: Int
  private var generator: SplitMix64

  /// - Returns: nil for a task that is made of real texts, or a size below 10.
  public init?(_ task: InfiniteBench.Task, size: Int? = nil, seed: UInt64) {
    guard Self.tasks.contains(task), (size ?? 10) >= 10 else { return nil }
    self.task = task
    self.size = size ?? Self.publishedSize(task)
    generator = SplitMix64(state: seed)
  }

  /// One sample: `id`, `context`, `input`, `answer`, `options`.
  /// - Parameters:
  ///   - number: its index among all samples.
  ///   - share: where the answer is hidden, 0 … 1.
  public mutating func sample(number: Int, depth share: Double) -> JSONValue {
    let (context, input, answer) = contents(depth: min(max(share, 0), 1))
    return .members([
      "id": .integer(number), "context": .string(context), "input": .string(input), "answer": .array(answer),
      "options": .array([]),
    ])
  }

  private mutating func contents(depth: Double) -> (context: String, input: String, answer: [JSONValue]) {
    switch task {
    case .passkey:
      let key = digits(5)
      return (
        hidden("The pass key is \(key). Remember it. \(key) is the pass key.", depth), "What is the pass key?",
        [.string(key)]
      )
    case .numberString:
      let key = doubledDigits()
      return (
        hidden("The sequence of digits is \(key). Remember it. \(key) is the sequence of digits.", depth),
        "What is the sequence of digits?", [.string(key)]
      )
    case .keyValue: return keyValue(depth)
    case .codeRun: return code(depth)
    case .mathCalculation: return calculation()
    default: return numbers()
    }
  }

  private func hidden(_ sentence: String, _ depth: Double) -> String {
    let before = Int(Double(size) * depth)
    return
      (Array(repeating: TaskWords.noise, count: before) + [sentence]
      + Array(repeating: TaskWords.noise, count: size - before)).joined(separator: "\n")
  }

  private mutating func digits(_ count: Int) -> String {
    (0..<count).map { _ in String(generator.next(below: 10)) }.joined()
  }

  /// Ten digits of which five repeat their neighbours.
  private mutating func doubledDigits() -> String {
    var digits = (0..<5).map { _ in String(generator.next(below: 10)) }
    for _ in 0..<5 {
      let index = generator.next(below: digits.count)
      digits.insert(digits[index], at: index)
    }
    return digits.joined()
  }

  private mutating func keyValue(_ depth: Double) -> (String, String, [JSONValue]) {
    let pairs = (0..<size).map { _ in (TaskWords.identifier(&generator), TaskWords.identifier(&generator)) }
    let asked = pairs[min(Int(Double(size) * depth), size - 1)]
    let text = pairs.map { "\"\($0.0)\": \"\($0.1)\"" }.joined(separator: ", ")
    return (
      "JSON data:\n{\(text)}", "Key: \"\(asked.0)\"\nThe value of this key is: \"", [.string(asked.1)]
    )
  }

  /// Functions that call each other up to ten deep and add or subtract a constant at every level.
  private mutating func code(_ depth: Double) -> (String, String, [JSONValue]) {
    let chainLength = 2 + generator.next(below: min(9, size - 1))
    // Chains are scattered: the order of definitions says nothing about who calls whom.
    var order = Array(0..<size)
    order.shuffle(using: &generator)
    let chain = Array(order[..<chainLength])
    var offsets: [Int] = []
    var callee: [Int?] = []
    for number in 0..<size {
      offsets.append(generator.next(below: 201) - 100)
      let index = chain.firstIndex(of: number)
      callee.append(index.flatMap { $0 + 1 < chainLength ? chain[$0 + 1] : nil })
    }
    let functions = (0..<size).map { number in
      let offset = offsets[number] < 0 ? "- \(-offsets[number])" : "+ \(offsets[number])"
      return "def func_\(number)(x):\n    return \(callee[number].map { "func_\($0)(x)" } ?? "x") \(offset)"
    }
    let argument = generator.next(below: 201) - 100
    let value = argument + chain.reduce(0) { $0 + offsets[$1] }
    return (
      functions.joined(separator: "\n\n"), "Please give the value of func_\(chain[0])(\(argument)).", [.integer(value)]
    )
  }

  private mutating func calculation() -> (String, String, [JSONValue]) {
    var value = generator.next(below: 100)
    var terms = [String(value)]
    var values = [value]
    for _ in 1..<size {
      let term = generator.next(below: 100)
      // Values stay at or above 0, as signs are not read.
      let adds = term > value || generator.next(below: 2) == 0
      value += adds ? term : -term
      terms.append(adds ? "+ \(term)" : "- \(term)")
      values.append(value)
    }
    return (terms.joined(separator: " "), "", values.map(JSONValue.integer))
  }

  private mutating func numbers() -> (String, String, [JSONValue]) {
    let list = (0..<size).map { _ in generator.next(below: 100) }
    let sorted = list.sorted()
    let middle = size / 2
    let median = size % 2 == 1 ? Double(sorted[middle]) : Double(sorted[middle - 1] + sorted[middle]) / 2
    let sought: [(String, Double)] = [
      ("largest", Double(sorted[size - 1])), ("second largest", Double(sorted[size - 2])),
      ("third largest", Double(sorted[size - 3])), ("smallest", Double(sorted[0])),
      ("second smallest", Double(sorted[1])), ("third smallest", Double(sorted[2])), ("median", median),
    ]
    let (name, value) = sought[generator.next(below: sought.count)]
    return (
      "[\(list.map(String.init).joined(separator: ", "))]", "The \(name) number of the list is:",
      [Int(exactly: value).map(JSONValue.integer) ?? .number(value)]
    )
  }
}
