#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// What Python's operators do.
extension Evaluator {
  func apply(_ operation: Arithmetic, _ left: Value, _ right: Value) throws(TemplateError) -> Value {
    try meter.step()
    if case .undefined(let missing) = left { throw missing.error }
    if case .text(let text) = left, operation == .remainder { return try formatted(text, with: right) }
    if case .undefined(let missing) = right { throw missing.error }
    if let left = left.integer, let right = right.integer { return try integers(operation, left, right) }
    if let left = left.number, let right = right.number { return try floats(operation, left, right) }
    switch (operation, left, right) {
    case (.add, .text(let left), .text(let right)):
      return try joined(left, right)
    case (.add, .list(let left), .list(let right)): return try meter.list(try joined(left, right))
    case (.add, .tuple(let left), .tuple(let right)): return try meter.tuple(try joined(left, right))
    case (.multiply, .text(let text), _):
      guard let count = right.integer else { break }
      return try meter.text(try repeated(text.units, count, size: 4), isEscaped: text.isEscaped)
    case (.multiply, _, .text): return try swapped(left, right)
    case (.multiply, .list(let items), _):
      guard let count = right.integer else { break }
      return try meter.list(try repeated(items.items, count, size: MemoryLayout<Value>.stride))
    case (.multiply, _, .list): return try swapped(left, right)
    case (.multiply, .tuple(let items), _):
      guard let count = right.integer else { break }
      return try meter.tuple(try repeated(items.items, count, size: MemoryLayout<Value>.stride))
    case (.multiply, _, .tuple): return try swapped(left, right)
    default: break
    }
    throw .operation(
      "unsupported operand type(s) for \(operation.rawValue): '\(left.typeName)' and '\(right.typeName)'")
  }

  private func swapped(_ left: Value, _ right: Value) throws(TemplateError) -> Value {
    guard left.integer != nil else {
      throw .operation("can't multiply sequence by non-int of type '\(left.typeName)'")
    }
    return try apply(.multiply, right, left)
  }

  /// If one of them is escaped, so is the other one then, and the whole.
  private func joined(_ left: Text, _ right: Text) throws(TemplateError) -> Value {
    let isEscaped = left.isEscaped || right.isEscaped
    var builder = TextBuilder(meter)
    for text in [left, right] {
      if isEscaped, !text.isEscaped {
        try escape(text.units, into: &builder)
      } else {
        try builder.append(text.units)
      }
    }
    return try meter.text(builder.units, isEscaped: isEscaped)
  }

  private func joined(_ left: Items, _ right: Items) throws(TemplateError) -> [Value] {
    try meter.check((left.items.count + right.items.count) * MemoryLayout<Value>.stride)
    return left.items + right.items
  }

  private func repeated<Element>(_ elements: [Element], _ count: Int, size: Int) throws(TemplateError) -> [Element] {
    guard count > 0, !elements.isEmpty else { return [] }
    let (total, overflows) = elements.count.multipliedReportingOverflow(by: count)
    try meter.check(overflows || total > meter.limits.memoryBytes ? .max : total * size)
    try size == 4 ? meter.step(total) : meter.work(total)
    var result: [Element] = []
    result.reserveCapacity(total)
    for _ in 0..<count { result += elements }
    return result
  }

  private func integers(_ operation: Arithmetic, _ left: Int, _ right: Int) throws(TemplateError) -> Value {
    let (result, overflows): (Int, Bool)
    switch operation {
    case .add: (result, overflows) = left.addingReportingOverflow(right)
    case .subtract: (result, overflows) = left.subtractingReportingOverflow(right)
    case .multiply: (result, overflows) = left.multipliedReportingOverflow(by: right)
    case .divide:
      guard right != 0 else { throw .operation("division by zero") }
      return .float(Double(left) / Double(right))
    case .floorDivide:
      guard right != 0 else { throw .operation("integer division or modulo by zero") }
      let (quotient, overflow) = left.dividedReportingOverflow(by: right)
      let isBelow = !overflow && left % right != 0 && (left < 0) != (right < 0)
      (result, overflows) = (isBelow ? quotient - 1 : quotient, overflow)
    case .remainder:
      guard right != 0 else { throw .operation("integer modulo by zero") }
      let (remainder, _) = left.remainderReportingOverflow(dividingBy: right)
      (result, overflows) = (remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder, false)
    case .power:
      if right < 0 {
        guard left != 0 else { throw .operation("0.0 cannot be raised to a negative power") }
        return .float(pow(Double(left), Double(right)))
      }
      (result, overflows) = Self.power(left, right)
    }
    guard !overflows else { throw TemplateError(.unsupported, "the result of \(operation.rawValue) exceeds 64 bits") }
    return .integer(result)
  }

  private static func power(_ base: Int, _ exponent: Int) -> (Int, Bool) {
    var result = 1
    var square = base
    var rest = exponent
    while rest > 0 {
      if rest & 1 == 1 {
        let (product, overflows) = result.multipliedReportingOverflow(by: square)
        if overflows { return (0, true) }
        result = product
      }
      rest >>= 1
      if rest > 0 {
        let (product, overflows) = square.multipliedReportingOverflow(by: square)
        if overflows { return (0, true) }
        square = product
      }
    }
    return (result, false)
  }

  private func floats(_ operation: Arithmetic, _ left: Double, _ right: Double) throws(TemplateError) -> Value {
    switch operation {
    case .add: return .float(left + right)
    case .subtract: return .float(left - right)
    case .multiply: return .float(left * right)
    case .divide:
      guard right != 0 else { throw .operation("float division by zero") }
      return .float(left / right)
    case .floorDivide, .remainder:
      guard right != 0 else { throw .operation("float modulo") }
      var remainder = left.truncatingRemainder(dividingBy: right)
      var quotient = (left - remainder) / right
      if remainder != 0 {
        if (right < 0) != (remainder < 0) {
          remainder += right
          quotient -= 1
        }
      } else {
        remainder = right < 0 ? -0.0 : 0.0
      }
      if operation == .remainder { return .float(remainder) }
      guard quotient != 0 else { return .float((left / right).sign == .minus ? -0.0 : 0.0) }
      let floored = quotient.rounded(.down)
      return .float(quotient - floored > 0.5 ? floored + 1 : floored)
    case .power:
      if left == 0, right < 0 { throw .operation("0.0 cannot be raised to a negative power") }
      if left < 0, left.isFinite, right.isFinite, right != right.rounded() {
        throw TemplateError(.unsupported, "complex numbers are not supported")
      }
      let result = pow(left, right)
      if result.isInfinite, left.isFinite, right.isFinite { throw .operation("Numerical result out of range") }
      return .float(result)
    }
  }

  func negated(_ value: Value) throws(TemplateError) -> Value {
    switch value {
    case .undefined(let missing): throw missing.error
    case .float(let value): return .float(-value)
    default:
      guard let integer = value.integer else { throw .operation("bad operand type for unary -: '\(value.typeName)'") }
      guard integer != .min else { throw TemplateError(.unsupported, "the result of - exceeds 64 bits") }
      return .integer(-integer)
    }
  }

  func positive(_ value: Value) throws(TemplateError) -> Value {
    switch value {
    case .undefined(let missing): throw missing.error
    case .float: return value
    default:
      guard let integer = value.integer else { throw .operation("bad operand type for unary +: '\(value.typeName)'") }
      return .integer(integer)
    }
  }

  // MARK: Comparisons

  func compare(_ operation: Comparison, _ left: Value, _ right: Value) throws(TemplateError) -> Bool {
    try meter.step()
    switch operation {
    case .equal: return try isEqual(left, right)
    case .notEqual: return try !isEqual(left, right)
    case .less: return try isLess(left, right, "<")
    case .greater: return try isLess(right, left, ">", isSwapped: true)
    case .lessOrEqual: return try isLessOrEqual(left, right, "<=")
    case .greaterOrEqual: return try isLessOrEqual(right, left, ">=", isSwapped: true)
    case .isIn: return try contains(right, left)
    case .isNotIn: return try !contains(right, left)
    }
  }

  func isEqual(_ left: Value, _ right: Value) throws(TemplateError) -> Bool {
    if let left = left.integer, let right = right.integer { return left == right }
    if let leftNumber = left.number, let rightNumber = right.number {
      // A float equals an integer only if it is that integer.
      if let integer = left.integer { return Int(exactly: rightNumber) == integer }
      if let integer = right.integer { return Int(exactly: leftNumber) == integer }
      return leftNumber == rightNumber
    }
    switch (left, right) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.text(let left), .text(let right)):
      try meter.step(min(left.units.count, right.units.count))
      return left.equals(right)
    case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
      guard left.items.count == right.items.count else { return false }
      for (left, right) in zip(left.items, right.items) {
        try meter.step()
        guard try isEqual(left, right) else { return false }
      }
      return true
    case (.mapping(let left), .mapping(let right)):
      guard left.count == right.count else { return false }
      for (key, value) in zip(left.keys, left.values) {
        try meter.step()
        guard let other = try right.value(of: key), try isEqual(value, other) else { return false }
      }
      return true
    case (.range(let left), .range(let right)):
      return left.count == right.count
        && (left.count == 0 || left.start == right.start && (left.count == 1 || left.step == right.step))
    case (.generator(let left), .generator(let right)): return left === right
    case (.loop(let left), .loop(let right)): return left === right
    case (.cycler(let left), .cycler(let right)): return left === right
    case (.joiner(let left), .joiner(let right)): return left === right
    case (.namespace(let left), .namespace(let right)): return left == right
    case (.macro(let left), .macro(let right)): return left == right
    case (.function(let left), .function(let right)): return left == right
    default: return false
    }
  }

  private func cannotOrder(_ left: Value, _ right: Value, _ sign: String, _ isSwapped: Bool) -> TemplateError {
    if case .undefined(let missing) = left { return missing.error }
    if case .undefined(let missing) = right { return missing.error }
    let (first, second) = isSwapped ? (right, left) : (left, right)
    return .operation("'\(sign)' not supported between instances of '\(first.typeName)' and '\(second.typeName)'")
  }

  func isLess(
    _ left: Value, _ right: Value, _ sign: String = "<", isSwapped: Bool = false
  ) throws(TemplateError) -> Bool {
    try meter.step()
    if let left = left.integer, let right = right.integer { return left < right }
    if let left = left.number, let right = right.number { return left < right }
    switch (left, right) {
    case (.text(let left), .text(let right)):
      try meter.step(min(left.units.count, right.units.count))
      return left.isLess(than: right)
    case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
      for (left, right) in zip(left.items, right.items) where try !isEqual(left, right) {
        return try isLess(left, right, sign, isSwapped: isSwapped)
      }
      return left.items.count < right.items.count
    default: throw cannotOrder(left, right, sign, isSwapped)
    }
  }

  private func isLessOrEqual(
    _ left: Value, _ right: Value, _ sign: String, isSwapped: Bool = false
  ) throws(TemplateError) -> Bool {
    if let left = left.number, let right = right.number, left.isNaN || right.isNaN { return false }
    return try !isLess(right, left, sign, isSwapped: !isSwapped)
  }

  /// `item in container`.
  func contains(_ container: Value, _ item: Value) throws(TemplateError) -> Bool {
    switch container {
    case .text(let text):
      guard case .text(let part) = item else {
        if case .undefined(let missing) = item, missing.kind == .undefined {
          throw .operation("'in <string>' requires string as left operand, not Undefined")
        }
        throw .operation("'in <string>' requires string as left operand, not \(item.typeName)")
      }
      return try text.firstRange(of: part.plain, in: 0..<text.units.count, meter) != nil
    case .mapping(let mapping): return try mapping.value(of: item) != nil
    case .view(let view) where view.part == .keys: return try view.mapping.value(of: item) != nil
    default:
      guard let iterator = try iterator(over: container) else {
        throw .operation("argument of type '\(container.typeName)' is not iterable")
      }
      while let value = try iterator.next(self) {
        try meter.step()
        if try isEqual(value, item) { return true }
      }
      return false
    }
  }
}

extension Value {
  /// Of integers and of booleans, which are integers in Python.
  var integer: Int? {
    switch self {
    case .integer(let value): value
    case .boolean(let value): value ? 1 : 0
    default: nil
    }
  }

  var number: Double? {
    if case .float(let value) = self { return value }
    return integer.map { Double($0) }
  }
}
