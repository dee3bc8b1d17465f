/// Why a template cannot be parsed or rendered.
public struct TemplateError: Error, Sendable, Hashable, CustomStringConvertible {
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// The source is not a template of the language.
    case syntax
    /// The language has it, this implementation does not: other templates (include, import, extends), for example.
    case unsupported
    /// Something was done with a name, an attribute or an item that does not exist.
    case undefined
    /// An operation does not take these values; what Python reports as TypeError, ValueError and the like.
    case operation
    /// The sandbox forbids it: changing a list or a dictionary, or reaching Python's internals.
    case forbidden
    /// The template itself refused its input, by `raise_exception`; `fault` is its message.
    case raised
    case sourceTooLong = "source-too-long"
    case nestedTooDeep = "nested-too-deep"
    case tooManySteps = "too-many-steps"
    case outputTooLong = "output-too-long"
    case tooMuchMemory = "too-much-memory"
  }

  public let kind: Kind
  /// The line of the template, from 1, where it is known.
  public let line: Int?
  public let fault: String

  public init(_ kind: Kind, line: Int? = nil, _ fault: String) {
    self.kind = kind
    self.line = line
    self.fault = fault
  }

  /// Its name in messages: `syntax`, `raised`, `too-many-steps`.
  public var name: String { kind.rawValue }

  public var description: String {
    let place = line.map { "line \($0): " } ?? ""
    return kind == .raised ? "\(place)the template refuses its input: \(fault)" : "\(place)\(fault)"
  }

  /// The same error at a line, unless it knows its own.
  func at(line: Int) -> TemplateError { TemplateError(kind, line: self.line ?? line, fault) }

  static func operation(_ fault: String) -> TemplateError { TemplateError(.operation, fault) }
}
