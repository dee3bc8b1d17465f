/// Calls of functions, methods and macros.
extension Evaluator {
  func invoke(_ callee: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    try nested { () throws(TemplateError) in
      switch callee {
      case .undefined(let missing): throw missing.error
      case .function(let function): return try call(function, arguments)
      case .macro(let number): return try call(macros[number], arguments)
      case .method(let method): return try call(method, arguments)
      case .loop(let state): return try recurse(state, arguments)
      case .joiner(let joiner):
        guard joiner.isUsed else {
          joiner.isUsed = true
          return try meter.text([])
        }
        return joiner.separator
      default: throw .operation("'\(callee.typeName)' object is not callable")
      }
    }
  }

  private func call(_ function: Function, _ arguments: Arguments) throws(TemplateError) -> Value {
    switch function {
    case .range: return try range(arguments)
    case .dict: return .mapping(try Mapping(try members(arguments), meter: meter))
    case .namespace:
      try meter.charge(128)  // Until the end: namespaces are kept.
      namespaces.append([])
      let number = namespaces.count - 1
      for (key, value) in try members(arguments) {
        guard case .text(let text) = key else { continue }  // Cannot be reached by a name.
        try set(text.string, of: number, value)
      }
      return .namespace(number)
    case .cycler:
      guard !arguments.positional.isEmpty else { throw .operation("at least one item has to be provided") }
      return .cycler(Cycler(try Items(arguments.positional, meter: meter)))
    case .joiner:
      let values = try arguments.bound("joiner", ["sep"])
      if let separator = values[0] { return .joiner(Joiner(separator)) }
      return .joiner(Joiner(try meter.text(", ")))
    case .template: throw .operation("'TemplateReference' object is not callable")
    case .raise:
      let values = try arguments.bound("raise_exception", ["message"], required: 1)
      throw TemplateError(.raised, line: line, makeString(try stringUnits(values[0] ?? .none)))
    case .now:
      let values = try arguments.bound("strftime_now", ["format"], required: 1)
      guard case .text(let format) = values[0], let now else {
        throw .operation("strftime() argument 1 must be str")
      }
      try meter.check(format.units.count * 64)
      return try meter.text(now.formatted(format.units))
    }
  }

  private func range(_ arguments: Arguments) throws(TemplateError) -> Value {
    guard arguments.keywords.isEmpty else { throw .operation("range() takes no keyword arguments") }
    var numbers: [Int] = []
    for value in arguments.positional {
      guard let number = value.integer else {
        throw .operation("'\(value.typeName)' object cannot be interpreted as an integer")
      }
      numbers.append(number)
    }
    switch numbers.count {
    case 1: return .range(try IntegerRange(start: 0, stop: numbers[0], step: 1))
    case 2: return .range(try IntegerRange(start: numbers[0], stop: numbers[1], step: 1))
    case 3:
      guard numbers[2] != 0 else { throw .operation("range() arg 3 must not be zero") }
      return .range(try IntegerRange(start: numbers[0], stop: numbers[1], step: numbers[2]))
    default: throw .operation("range expected 1 to 3 arguments, got \(numbers.count)")
    }
  }

  /// What `dict(…)` makes of its arguments.
  private func members(_ arguments: Arguments) throws(TemplateError) -> [(key: Value, value: Value)] {
    guard arguments.positional.count <= 1 else {
      throw .operation("dict expected at most 1 argument, got \(arguments.positional.count)")
    }
    var result: [(key: Value, value: Value)] = []
    if let first = arguments.positional.first {
      if case .mapping(let mapping) = first {
        for (key, value) in zip(mapping.keys, mapping.values) { result.append((key, value)) }
      } else {
        for item in try items(of: first) {
          let pair = try items(of: item)
          guard pair.count == 2 else {
            throw .operation("dictionary update sequence element has length \(pair.count); 2 is required")
          }
          result.append((pair[0], pair[1]))
        }
      }
    }
    for (name, value) in arguments.keywords { result.append((try meter.text(name), value)) }
    return result
  }

  private func call(_ method: Method, _ arguments: Arguments) throws(TemplateError) -> Value {
    switch method.receiver {
    case .text(let text):
      let result = try call(method.name, of: text, arguments)
      guard text.isEscaped, case .text(let changed) = result else { return result }
      return try meter.text(changed.units, isEscaped: true)
    case .list(let items), .tuple(let items): return try call(method.name, of: items, method.receiver, arguments)
    case .mapping(let mapping): return try call(method.name, of: mapping, arguments)
    case .loop(let state): return try call(method.name, of: state, arguments)
    case .cycler(let cycler):
      if method.name == "reset" {
        cycler.position = 0
        return .none
      }
      defer { cycler.position = (cycler.position + 1) % cycler.items.items.count }
      return cycler.items.items[cycler.position]
    case .float(let value) where method.name == "is_integer": return .boolean(value == value.rounded())
    case .integer(let value) where method.name == "bit_length":
      return .integer(Int.bitWidth - value.magnitude.leadingZeroBitCount)
    default:
      throw TemplateError(
        .unsupported, "the method '\(method.name)' of \(method.receiver.typeName) is not supported")
    }
  }

  private func call(
    _ name: String, of items: Items, _ value: Value, _ arguments: Arguments
  ) throws(TemplateError) -> Value {
    let values = try arguments.bound(name, ["value", "start", "stop"], required: name == "copy" ? 0 : 1)
    switch name {
    case "copy": return value
    case "count":
      var count = 0
      for item in items.items where try isEqual(item, values[0] ?? .none) { count += 1 }
      return .integer(count)
    default:
      let bounds = try sliceBounds(values[1], values[2], count: items.items.count)
      for index in bounds where try isEqual(items.items[index], values[0] ?? .none) { return .integer(index) }
      throw .operation("value is not in the \(value.typeName)")
    }
  }

  private func call(_ name: String, of mapping: Mapping, _ arguments: Arguments) throws(TemplateError) -> Value {
    switch name {
    case "get":
      guard arguments.keywords.isEmpty else { throw .operation("dict.get() takes no keyword arguments") }
      let values = try arguments.bound("get", ["key", "default"], required: 1)
      return try mapping.value(of: values[0] ?? .none) ?? values[1] ?? Value.none
    case "items", "keys", "values":
      _ = try arguments.bound(name, [])
      return .view(MappingView(mapping, MappingView.Part(rawValue: name) ?? .items))
    case "copy": return .mapping(mapping)
    default:
      throw TemplateError(.unsupported, "the method '\(name)' of dict is not supported")
    }
  }

  /// The places that `start` and `stop` select, as slices do.
  func sliceBounds(_ start: Value?, _ stop: Value?, count: Int) throws(TemplateError) -> Range<Int> {
    func place(_ value: Value?, _ standard: Int) throws(TemplateError) -> Int {
      guard let value else { return standard }
      if case .none = value { return standard }
      guard let index = value.integer else { throw .operation("slice indices must be integers or None") }
      return index < 0 ? max(0, index + count) : min(index, count)
    }
    let first = try place(start, 0)
    return first..<max(first, try place(stop, count))
  }
}
