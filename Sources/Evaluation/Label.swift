/// What tells one row of a result from another: a word such as a method, or a number such as a length.
public enum Label: Sendable, Hashable, CustomStringConvertible,
  ExpressibleByStringLiteral, ExpressibleByIntegerLiteral
{
  case text(String)
  case number(Double)

  public init(stringLiteral value: String) { self = .text(value) }
  public init(integerLiteral value: Int) { self = .number(Double(value)) }
  public init(_ value: Int) { self = .number(Double(value)) }

  /// As people read it: whole numbers without a fraction.
  public var description: String {
    switch self {
    case .text(let text): text
    case .number(let number): Int(exactly: number).map(String.init) ?? number.description
    }
  }
}
