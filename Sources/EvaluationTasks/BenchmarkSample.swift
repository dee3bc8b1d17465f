import CanonicalJSON

/// A prompt with a long context, and what answers to it are worth.
public struct BenchmarkSample: Sendable {
  /// What the file calls it; empty when it does not.
  public var identifier: String
  public var task: String
  public var prompt: String
  /// The right answers, for the record.
  public var answers: [String]
  public var maxNewTokens: Int
  public var stopStrings: [String] = []
  /// Whether the prompt goes into the model's chat template.
  public var usesChatTemplate = true
  /// The class of lengths in which the sample is counted, too.
  public var lengthClass: String?
  /// The score of an answer, 0 to 1.
  public var score: @Sendable (_ prediction: String) -> Double

  public init(
    identifier: String = "", task: String, prompt: String, answers: [String], maxNewTokens: Int,
    stopStrings: [String] = [], usesChatTemplate: Bool = true, lengthClass: String? = nil,
    score: @escaping @Sendable (_ prediction: String) -> Double
  ) {
    self.identifier = identifier
    self.task = task
    self.prompt = prompt
    self.answers = answers
    self.maxNewTokens = maxNewTokens
    self.stopStrings = stopStrings
    self.usesChatTemplate = usesChatTemplate
    self.lengthClass = lengthClass
    self.score = score
  }
}

/// An answer that was written before, and what it is worth.
public struct BenchmarkPrediction: Sendable {
  public var task: String
  /// The class of lengths in which it is counted, too.
  public var lengthClass: String?
  /// 0 to 1.
  public var score: Double
}

/// Which part of a sample, or of a file of prompts, is not as it must be.
public struct SampleFault: Error, Sendable, Equatable {
  public let field: String
  public let fault: String

  public init(_ field: String, _ fault: String) {
    self.field = field
    self.fault = fault
  }
}

/// The fields of a sample, checked.
struct SampleFields {
  private let json: JSONValue

  init(_ json: JSONValue) { self.json = json }

  func text(_ field: String) throws(SampleFault) -> String {
    guard let text = json[field]?.string else { throw SampleFault(field, "is missing or no text") }
    return text
  }

  func texts(_ field: String) throws(SampleFault) -> [String] {
    guard let values = json[field]?.array else { throw SampleFault(field, "is missing or no list") }
    let texts = values.compactMap(\.string)
    guard texts.count == values.count else { throw SampleFault(field, "has an entry that is no text") }
    return texts
  }
}
