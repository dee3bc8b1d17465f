/// The tests of `is`.
extension Evaluator {
  static let testNames: Set<String> = [
    "odd", "even", "divisibleby", "defined", "undefined", "filter", "test", "none", "boolean", "false", "true",
    "integer", "float", "lower", "upper", "string", "mapping", "number", "sequence", "iterable", "callable", "sameas",
    "escaped", "in", "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", "ge", ">=", "<", "lt", "lessthan",
    "<=", "le",
  ]

  private static let comparisons: [String: Comparison] = [
    "==": .equal, "eq": .equal, "equalto": .equal, "!=": .notEqual, "ne": .notEqual, ">": .greater, "gt": .greater,
    "greaterthan": .greater, "ge": .greaterOrEqual, ">=": .greaterOrEqual, "<": .less, "lt": .less,
    "lessthan": .less, "<=": .lessOrEqual, "le": .lessOrEqual,
  ]

  func test(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Bool {
    try meter.step()
    if let comparison = Self.comparisons[name] {
      return try compare(comparison, value, try arguments.bound(name, ["b"], required: 1)[0] ?? .none)
    }
    switch name {
    case "divisibleby":
      let divisor = try arguments.bound(name, ["num"], required: 1)[0] ?? .none
      return try isZero(try apply(.remainder, value, divisor))
    case "in": return try contains(try arguments.bound(name, ["seq"], required: 1)[0] ?? .none, value)
    case "sameas": return try isSame(value, try arguments.bound(name, ["other"], required: 1)[0] ?? .none)
    default: _ = try arguments.bound(name, [])
    }
    switch name {
    case "odd": return try isEqual(try apply(.remainder, value, .integer(2)), .integer(1))
    case "even": return try isZero(try apply(.remainder, value, .integer(2)))
    case "filter": return try knows(value, Self.filterNames)
    case "test": return try knows(value, Self.testNames)
    case "lower": return try Text(try stringUnits(value), isEscaped: false, meter: meter).isLower
    case "upper": return try Text(try stringUnits(value), isEscaped: false, meter: meter).isUpper
    default: return try typeTest(name, value)
    }
  }

  private func isZero(_ value: Value) throws(TemplateError) -> Bool { try isEqual(value, .integer(0)) }

  private func knows(_ value: Value, _ names: Set<String>) throws(TemplateError) -> Bool {
    guard case .text(let text) = value else {
      _ = try Key(value)
      return false
    }
    return names.contains(text.string)
  }

  private func typeTest(_ name: String, _ value: Value) throws(TemplateError) -> Bool {
    switch (name, value) {
    case ("defined", _): return !value.isUndefined
    case ("undefined", _): return value.isUndefined
    case ("none", .none), ("boolean", .boolean), ("false", .boolean(false)), ("true", .boolean(true)): return true
    case ("integer", .integer), ("float", .float), ("string", .text), ("mapping", .mapping): return true
    case ("number", .integer), ("number", .float), ("number", .boolean): return true
    case ("escaped", .text(let text)): return text.isEscaped
    case ("sequence", .text), ("sequence", .list), ("sequence", .tuple), ("sequence", .mapping), ("sequence", .range):
      return true
    case ("sequence", .undefined(let missing)): return missing.kind == .undefined
    case ("iterable", .loop): return true
    case ("iterable", _): return ValueIterator(value) != nil
    case ("callable", .function(.template)): return false
    case ("callable", .macro), ("callable", .method), ("callable", .function), ("callable", .joiner),
      ("callable", .loop), ("callable", .undefined):
      return true
    default:
      guard Self.testNames.contains(name) else { throw .operation("No test named '\(name)' found.") }
      return false
    }
  }

  /// Whether two values are one object in Python, as far as templates can know.
  private func isSame(_ left: Value, _ right: Value) throws(TemplateError) -> Bool {
    switch (left, right) {
    case (.none, .none): return true
    case (.boolean(let left), .boolean(let right)): return left == right
    case (.integer(let left), .integer(let right)): return left == right
    case (.text(let left), .text(let right)): return left === right || left.equals(right)
    case (.list(let left), .list(let right)): return left === right
    case (.tuple(let left), .tuple(let right)): return left === right || left.items.isEmpty && right.items.isEmpty
    case (.mapping(let left), .mapping(let right)): return left === right
    case (.undefined(let left), .undefined(let right)): return left === right
    case (.float, _), (_, .float), (.range, .range), (.boolean, _), (_, .boolean): return false
    default: return try isEqual(left, right)
    }
  }
}
