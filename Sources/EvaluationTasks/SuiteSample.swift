public import CanonicalJSON

/// A prompt with a long context out of a suite of tasks such as LongBench.
public struct SuiteSample: Sendable {
  public var task: String
  public var prompt: String
  public var maxNewTokens: Int
  public var stopStrings: [String] = []
  /// Whether the prompt goes into the model's chat template.
  public var usesChatTemplate = true
  public var record: AnswerRecord
  /// What makes an answer right; nil where the suite's own program decides.
  public var rule: AnswerRule?
}

/// How the suite's own program writes an answer down, for its scorer to read.
public struct AnswerRecord: Sendable {
  /// The file, with one line of JSON for each answer; `*` stands for the method.
  public var path: String
  /// The key of the answer.
  public var key: String
  /// The other fields of the line.
  public var fields: [JSONValue.Member]

  init(path: String, key: String, _ fields: KeyValuePairs<String, JSONValue?>) {
    self.path = path
    self.key = key
    self.fields = JSONValue.members(fields).object ?? []
  }

  public func line(_ answer: String) -> JSONValue { .object(fields + [JSONValue.Member(key, .string(answer))]) }
}

/// The part of a sample, or of a file of prompts, that is malformed, and its fault.
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
    guard let text = json[field]?.string else { throw SampleFault(field, "is missing or not text") }
    return text
  }

  func texts(_ field: String) throws(SampleFault) -> [String] {
    guard let values = json[field]?.array else { throw SampleFault(field, "is missing or not a list") }
    let texts = values.compactMap(\.string)
    guard texts.count == values.count else { throw SampleFault(field, "has an entry that is not text") }
    return texts
  }
}
