/// The values that a function, a filter or a test is given.
struct Arguments {
  var positional: [Value] = []
  var keywords: [(name: String, value: Value)] = []

  /// Values for parameters with these names, nil where none is given.
  func bound(_ function: String, _ names: [String], required: Int = 0) throws(TemplateError) -> [Value?] {
    guard positional.count <= names.count else {
      throw .operation("\(function)() takes at most \(names.count) arguments, but \(positional.count) were given")
    }
    var values: [Value?] = positional + Array(repeating: nil, count: names.count - positional.count)
    for (name, value) in keywords {
      guard let place = names.firstIndex(of: name) else {
        throw .operation("\(function)() got an unexpected keyword argument '\(name)'")
      }
      guard values[place] == nil else { throw .operation("\(function)() got multiple values for argument '\(name)'") }
      values[place] = value
    }
    for place in 0..<required where values[place] == nil {
      throw .operation("\(function)() is missing the argument '\(names[place])'")
    }
    return values
  }
}

extension Evaluator {
  func evaluate(_ expression: Expression, _ frame: Frame) throws(TemplateError) -> Value {
    switch expression {
    case .constant(let constant): return try evaluate(constant)
    case .name(let id):
      try meter.step()
      return try variable(id, frame) ?? .undefined(Missing("'\(name(id))' is undefined"))
    default: return try nested { () throws(TemplateError) in try evaluateCompound(expression, frame) }
    }
  }

  private func evaluate(_ constant: Constant) throws(TemplateError) -> Value {
    switch constant {
    case .none: return .none
    case .boolean(let value): return .boolean(value)
    case .integer(let value): return .integer(value)
    case .float(let value): return .float(value)
    case .text(let units): return try meter.text(units)
    }
  }

  private func evaluateCompound(_ expression: Expression, _ frame: Frame) throws(TemplateError) -> Value {
    switch expression {
    case .constant, .name: return .none  // Done above.
    case .list(let parts): return try meter.list(try values(of: parts, frame))
    case .tuple(let parts): return try evaluateTuple(parts, frame)
    case .mapping(let members): return try evaluateMapping(members, frame)
    case .not(let value): return .boolean(try !evaluate(value, frame).isTrue)
    case .negative(let value): return try negated(try evaluate(value, frame))
    case .positive(let value): return try positive(try evaluate(value, frame))
    case .and(let parts):
      for part in parts.dropLast() {
        let value = try evaluate(part, frame)
        if !value.isTrue { return value }
      }
      return try evaluate(parts[parts.count - 1], frame)
    case .or(let parts):
      for part in parts.dropLast() {
        let value = try evaluate(part, frame)
        if value.isTrue { return value }
      }
      return try evaluate(parts[parts.count - 1], frame)
    case .concatenation(let parts):
      var builder = TextBuilder(meter)
      for value in try values(of: parts, frame) { try builder.append(try stringUnits(value)) }
      return try builder.value()
    case .arithmetic(let first, let rest):
      var value = try evaluate(first, frame)
      for (operation, operand) in rest { value = try apply(operation, value, try evaluate(operand, frame)) }
      return value
    case .comparison(let first, let rest):
      var left = try evaluate(first, frame)
      for (operation, operand) in rest {
        let right = try evaluate(operand, frame)
        guard try compare(operation, left, right) else { return .boolean(false) }
        left = right
      }
      return .boolean(true)
    case .conditional(let test, let then, let otherwise):
      if try evaluate(test, frame).isTrue { return try evaluate(then, frame) }
      guard let otherwise else {
        return .undefined(
          Missing("the inline if-expression on line \(line) evaluated to false and no else section was defined."))
      }
      return try evaluate(otherwise, frame)
    case .postfix(let first, let parts): return try apply(parts, to: try evaluate(first, frame), frame)
    }
  }

  private func values(of parts: [Expression], _ frame: Frame) throws(TemplateError) -> [Value] {
    var values: [Value] = []
    values.reserveCapacity(parts.count)
    for part in parts { values.append(try evaluate(part, frame)) }
    return values
  }

  func evaluateTuple(_ parts: [Expression], _ frame: Frame) throws(TemplateError) -> Value {
    try meter.tuple(try values(of: parts, frame))
  }

  private func evaluateMapping(
    _ members: [(key: Expression, value: Expression)], _ frame: Frame
  ) throws(TemplateError) -> Value {
    var values: [(key: Value, value: Value)] = []
    values.reserveCapacity(members.count)
    for (key, value) in members { values.append((try evaluate(key, frame), try evaluate(value, frame))) }
    return .mapping(try Mapping(values, meter: meter))
  }

  func evaluate(_ arguments: CallArguments, _ frame: Frame) throws(TemplateError) -> Arguments {
    var result = Arguments(positional: try values(of: arguments.positional, frame))
    for (name, value) in arguments.keywords { result.keywords.append((name, try evaluate(value, frame))) }
    if let rest = arguments.rest { result.positional += try items(of: try evaluate(rest, frame)) }
    if let rest = arguments.keywordRest {
      let value = try evaluate(rest, frame)
      guard case .mapping(let mapping) = value else {
        if case .undefined(let missing) = value { throw missing.error }
        throw .operation("argument after ** must be a mapping, not \(value.typeName)")
      }
      for (key, value) in zip(mapping.keys, mapping.values) {
        guard case .text(let text) = key else { throw .operation("keywords must be strings") }
        let name = text.string
        try meter.step(result.keywords.count * 8)
        guard !result.keywords.contains(where: { $0.name == name }) else {
          throw .operation("got multiple values for keyword argument '\(name)'")
        }
        result.keywords.append((name, value))
      }
    }
    return result
  }

  /// Applies what follows an operand, from left to right.
  func apply(_ parts: [Postfix], to value: Value, _ frame: Frame) throws(TemplateError) -> Value {
    var value = value
    for part in parts {
      try meter.step()
      switch part {
      case .attribute(let name): value = try attribute(name, of: value)
      case .item(let expression): value = try item(try evaluate(expression, frame), of: value)
      case .slice(let start, let stop, let step):
        let bounds = try [start, stop, step].mapped { (part) throws(TemplateError) in
          try part.map { (part) throws(TemplateError) in try evaluate(part, frame) } ?? .none
        }
        value = try slice(value, bounds)
      case .call(let arguments): value = try invoke(value, try evaluate(arguments, frame))
      case .filter(let name, let arguments):
        value = try filter(name, value, arguments.isEmpty ? Arguments() : try evaluate(arguments, frame))
      case .test(let name, let arguments, let isNegated):
        let holds = try test(name, value, arguments.isEmpty ? Arguments() : try evaluate(arguments, frame))
        value = .boolean(holds != isNegated)
      }
    }
    return value
  }

  private func slice(_ value: Value, _ bounds: [Value]) throws(TemplateError) -> Value {
    if case .undefined(let missing) = value { throw missing.error }
    var places: [Int?] = []
    for bound in bounds {
      guard isNone(bound) || bound.integer != nil else { return noSlice(of: value) }
      places.append(bound.integer)
    }
    return try slice(value, places[0], places[1], places[2])
  }
}

extension CallArguments {
  var isEmpty: Bool { positional.isEmpty && keywords.isEmpty && rest == nil && keywordRest == nil }
}
